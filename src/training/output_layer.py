"""The last layer of a task: from the outputs of its network to the named outputs that an exported file gives.

What uses a checkpoint computes with the same layer, so a checkpoint and its exported file answer alike.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from src.evaluation.prediction import Floats, Outputs


class OutputLayer(nn.Module, ABC):
    """Fulfils `PredictionFacts`; it is made anew where it is used, since calibration and thresholds may change.

    `output_names`: of what it gives, in the order of an exported file's outputs. `temperature`: by which logits are
    divided; None if there are none. `unit`: in which numbers are compared with those of an exported file, and what
    that is (`unit_text`).
    """

    output_names: tuple[str, ...]
    class_names: list[str]
    temperature: float | None = None
    thresholds: list[float] | None = None
    unit_text = "in a probability"

    @abstractmethod
    def forward(self, outputs: Tensor) -> dict[str, Tensor]:
        """float32 by `output_names`, the first axis is the image."""

    @abstractmethod
    def undo(self, outputs: Outputs) -> Tensor:
        """The network's outputs (logits up to a constant) of which these were made."""

    @property
    def unit(self) -> Floats:
        return np.ones(1, dtype=np.float32)

    def arrays(self, outputs: Tensor) -> Outputs:
        """As `forward`, without torch."""
        with torch.inference_mode():
            return {name: value.cpu().numpy() for name, value in self(outputs).items()}


def shares_of(outputs: Outputs) -> Tensor:
    """Probabilities, none of them 0 or 1."""
    return torch.from_numpy(outputs["probabilities"]).clamp(1e-7, 1 - 1e-7)
