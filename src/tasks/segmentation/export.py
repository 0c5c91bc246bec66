"""The last layer of a segmenter: for each pixel of an image its class, and how sure that is.

Shapes: B images, K classes, H and W pixels, h and w places of the network's map.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from src.evaluation.prediction import Outputs
from src.models.segmenter import answers_at
from src.training.output_layer import OutputLayer


class SegmentationOutputs(OutputLayer):
    """`mask` (class ids) and `confidence` (the probability of that class, 0..1), float32 [B, H, W], of logits
    [B, K, h, w].

    `size`: H and W; None = those of the map.
    """

    temperature: float

    def forward(self, logits_BKhw: Tensor, size: Sequence[int] | None = None) -> dict[str, Tensor]:
        size = logits_BKhw.shape[-2:] if size is None else size
        found = [answers_at(logits_Khw, size, self.temperature) for logits_Khw in logits_BKhw]
        masks, confidences = zip(*found, strict=True)
        return {"mask": torch.stack(masks).float(), "confidence": torch.stack(confidences)}

    def undo(self, outputs: Outputs) -> Tensor:
        raise NotImplementedError

    def of_images(self, logits: Sequence[Tensor], sizes_wh: Sequence[Sequence[int]]) -> list[dict[str, Tensor]]:
        """The same of each image, [H, W] in the pixels of its file."""
        found = [self(one[None], (height, width)) for one, (width, height) in zip(logits, sizes_wh, strict=True)]
        return [{name: values[0] for name, values in one.items()} for one in found]
