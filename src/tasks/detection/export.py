"""The last layer of a detector: boxes, scores and labels of its outputs.

Shapes: B images, D rows for boxes, K classes.
"""

import torch
from torch import Tensor

from src.evaluation.prediction import Outputs
from src.training.output_layer import OutputLayer


class DetectionOutputs(OutputLayer):
    """`boxes` float32 [B, D, 4], `scores` float32 [B, D] and `labels` float32 [B, D] (class ids; -1 = no box), from
    outputs [B, D, 6] whose boxes are in pixels.

    `slope` and `shift` calibrate a score: they act on its logit (see src/evaluation/boxes/calibration.py).
    """

    unit_text = "in a score"

    def __init__(
        self, class_names: list[str], thresholds: list[float] | None, slope: float = 1.0, shift: float = 0.0
    ) -> None:
        super().__init__(class_names)
        self.thresholds, self.slope, self.shift = thresholds, slope, shift

    def forward(self, outputs_BD6: Tensor) -> dict[str, Tensor]:
        boxes_BD4, scores_BD, labels_BD = outputs_BD6[..., :4], outputs_BD6[..., 4], outputs_BD6[..., 5]
        if (self.slope, self.shift) != (1.0, 0.0):
            scores_BD = torch.where(labels_BD < 0, scores_BD, self.calibrated(scores_BD))
        return {"boxes": boxes_BD4, "scores": scores_BD, "labels": labels_BD}

    def calibrated(self, scores: Tensor) -> Tensor:
        if (self.slope, self.shift) == (1.0, 0.0):
            return scores
        return torch.sigmoid(self.slope * torch.logit(scores, eps=1e-6) + self.shift)

    def undo(self, outputs: Outputs) -> Tensor:
        columns = [torch.from_numpy(outputs[name]) for name in ("boxes", "scores", "labels")]
        scores_BD = torch.where(
            columns[2] < 0, columns[1], torch.sigmoid((torch.logit(columns[1], eps=1e-6) - self.shift) / self.slope)
        )
        return torch.cat([columns[0], scores_BD[..., None], columns[2][..., None]], dim=-1)
