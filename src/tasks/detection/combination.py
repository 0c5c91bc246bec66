"""One detector of several: boxes around one object become one. Shapes: B images, D rows for the boxes of each."""

from collections.abc import Sequence

import torch
from torch import Tensor

from src.tasks.detection.export import DetectionOutputs
from src.tasks.detection.fusion import fused_boxes
from src.training.combination import Combination
from src.training.output_layer import OutputLayer


class DetectionCombination(Combination):
    """Takes and gives outputs [B, D, 6] with boxes as shares of the image's sides; the scores given are calibrated."""

    def answer(self, layer: OutputLayer, outputs_BD6: Tensor) -> Tensor:
        assert isinstance(layer, DetectionOutputs)
        columns = layer(outputs_BD6)
        return torch.cat([columns["boxes"], columns["scores"][..., None], columns["labels"][..., None]], dim=-1)

    def reordered(self, answer: Tensor, order: Tensor) -> Tensor:
        """With the first detector's class ids."""
        ids_BD = answer[..., 5]
        own_BD = order.argsort()[ids_BD.clamp(min=0).long()].to(answer.dtype)
        return torch.cat([answer[..., :5], torch.where(ids_BD < 0, ids_BD, own_BD)[..., None]], dim=-1)

    def mean(self, answers: Sequence[Tensor]) -> Tensor:
        fused = torch.zeros_like(answers[0])
        fused[..., 5] = -1
        for b, images in enumerate(zip(*answers, strict=True)):
            rows = fused_boxes([rows_D6[rows_D6[:, 5] >= 0] for rows_D6 in images])[: fused.shape[1]]
            fused[b, : len(rows)] = rows
        return fused

    def unmirrored(self, outputs: Tensor) -> Tensor:
        x1, y1, x2, y2 = outputs[..., :4].unbind(dim=-1)
        found_BD = outputs[..., 5] >= 0
        sides = torch.stack([1 - x2, y1, 1 - x1, y2], dim=-1)
        return torch.cat([torch.where(found_BD[..., None], sides, outputs[..., :4]), outputs[..., 4:]], dim=-1)
