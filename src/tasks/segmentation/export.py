"""The last layer of a segmenter: for each pixel of an image its class, and how sure that is.

Shapes: B images, K classes, H and W pixels, h and w places of the network's map.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from src.evaluation.prediction import Outputs
from src.models.segmenter import answers_at
from src.training.output_layer import OutputLayer


class SegmentationOutputs(OutputLayer):
    """`mask` (class ids) uint8 [B, H, W] and `confidence` (the probability of that class, 0..1) float32 [B, H, W], of
    logits [B, K, h, w].

    `size`: H and W; None = those of the map.
    """

    unit_text = "in a confidence where the classes are the same"
    temperature: float

    def forward(self, logits_BKhw: Tensor, size: Sequence[int] | None = None) -> dict[str, Tensor]:
        size = logits_BKhw.shape[-2:] if size is None else size
        found = [answers_at(logits_Khw, size, self.temperature) for logits_Khw in logits_BKhw]
        masks, confidences = zip(*found, strict=True)
        return {"mask": torch.stack(masks), "confidence": torch.stack(confidences)}

    def undo(self, outputs: Outputs) -> Tensor:
        raise NotImplementedError("the other classes of a pixel are not in what is said about it")

    def of_images(self, logits: Iterable[Tensor], sizes_wh: Sequence[Sequence[int]]) -> Iterator[dict[str, Tensor]]:
        """The same of each image, [H, W] in the pixels of its file; as they are asked for, since they may be large."""
        for one, (width, height) in zip(logits, sizes_wh, strict=True):
            yield {name: values[0] for name, values in self(one[None], (height, width)).items()}

    def arrays(self, outputs: Any) -> Any:
        """Of what `of_images` gives: by name a list with [H, W] of each image, which may have any size."""
        with torch.inference_mode():
            found = [self.as_arrays(one) for one in outputs]
        return {name: [one[name][0] for one in found] for name in ("mask", "confidence")}

    @staticmethod
    def as_arrays(found: Mapping[str, Tensor]) -> Outputs:
        """Of one of them, with an axis of images and without torch."""
        return {name: values[None].cpu().numpy() for name, values in found.items()}
