"""Metrics of detection, as COCO defines them (src/evaluation/boxes)."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from src.evaluation.boxes.average_precision import box_metrics
from src.evaluation.boxes.matches import Matches, joined
from src.evaluation.boxes.matching import match
from src.evaluation.boxes.overlaps import Measure, measure_boxes
from src.tasks.detection.answers import true_boxes
from src.training.processes import gathered

Floats = npt.NDArray[np.float32]


class BoxMetrics:
    """Matches the boxes of each batch, and measures them all at the end.

    All in 0..1, higher is better; where there is nothing to find, as of small objects if all are large, NaN:

    - ap: average precision, the mean over classes and over the IoU thresholds 0.5, 0.55 to 0.95.
    - ap50, ap75: at IoU 0.5 and 0.75.
    - ap_small, ap_medium, ap_large: of true boxes below 32 x 32 pixels of the file, up to 96 x 96, and above.
    - ar: recall of all boxes that are found, the mean over classes and thresholds.
    """

    names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar")

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.pieces: list[tuple[npt.NDArray[np.int64], Matches]] = []

    def add(
        self,
        rows_B: npt.NDArray[np.int64],
        detections_BD6: Floats,
        truth: Sequence[Floats],
        measure: Measure = measure_boxes,
    ) -> None:
        """Images by their rows of the table; `detections` and `truth` as DetectionTask and Boxes.sample have them."""
        self.pieces.append((rows_B, match(detections_BD6, true_boxes(truth), self.classes, measure)))

    def take(self) -> Matches | None:
        """Of all images and processes, each of which calls it; None of nothing. Counting starts anew."""
        pieces, self.pieces = gathered(self.pieces), []
        if not pieces:
            return None
        rows_N = np.concatenate([rows_B for rows_B, _ in pieces])
        places_N = np.argsort(np.argsort(rows_N))  # so that equal scores have one order, whichever process saw them
        return joined([matches for _, matches in pieces]).renumbered(places_N, len(rows_N))

    @classmethod
    def measure(cls, matches: Matches | None) -> dict[str, float]:
        """By name."""
        values = {} if matches is None else box_metrics(matches)
        return {name: values.get(name, math.nan) for name in cls.names}
