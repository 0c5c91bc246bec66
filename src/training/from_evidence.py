"""What a task makes of the evidence that it keeps of each image (src/evaluation/evidence.py)."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy.typing as npt
from PIL import Image

from src.evaluation.evidence import Evidence
from src.evaluation.prediction import Prediction


class FromEvidence(ABC):
    """Part of the base of the tasks."""

    @abstractmethod
    def predictions_of(self, evidence: Evidence) -> Iterator[Prediction]:
        """What is said about each image."""

    def figures(
        self, split: str, arrays: Mapping[str, npt.NDArray[Any]], labels: npt.NDArray[Any]
    ) -> dict[str, Image.Image]:
        """Drawn for TensorBoard, by name, of what a validation step returned [N, ...] and the labels [N]."""
        return {}

    def calibrate(self, val: Evidence) -> dict[str, float]:
        """Learn from the best weights' evidence of val, which has images; what best.ckpt then carries, if anything."""
        return {}

    def further_metrics(self, evidence: Evidence) -> dict[str, float]:
        """Of the final weights on a split, beside those that each validation logs; there are images."""
        return {}
