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

    `class_names`: or names of targets. `temperature`: by which logits are divided; None if the outputs are none.
    `unit`: in which numbers are compared with those of an exported file, and in words (`unit_text`).
    """

    thresholds: list[float] | None = None
    unit: Floats = np.ones(1, dtype=np.float32)
    unit_text = "in a probability"

    def __init__(self, class_names: list[str], temperature: float | None = None) -> None:
        super().__init__()
        self.class_names, self.temperature = class_names, temperature

    @abstractmethod
    def forward(self, outputs: Tensor) -> dict[str, Tensor]:
        """float32, by the names of the prediction's `output_shapes`; the first axis is the image."""

    @abstractmethod
    def undo(self, outputs: Outputs) -> Tensor:
        """The network's outputs of which these were made."""

    def arrays(self, outputs: Tensor) -> Outputs:
        """As `forward`, without torch."""
        with torch.inference_mode():
            return {name: value.cpu().numpy() for name, value in self(outputs).items()}


def shares_of(outputs: Outputs) -> Tensor:
    """Probabilities, none of them 0 or 1."""
    return torch.from_numpy(outputs["probabilities"]).clamp(1e-7, 1 - 1e-7)
