"""A segmenter as an exported file computes it.

Shapes: B images, K classes, H and W pixels of an image, h and w of the one that the network sees.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from src.models.ceil_pooling import without_ceil_pooling
from src.models.pillow_resize import PillowResizeWhole
from src.models.preprocessing import Preprocessing
from src.models.segmenter import LEAST_PX, enlarged
from src.training.exported_model import ExportedModel

CLASSES_AT_ONCE = 8  # whose logits are made as large as the image: 32 bytes a pixel


class ExportedSegmenter(ExportedModel):
    """Takes RGB images uint8 [B, 3, H, W] of any size, all of one size, and returns `mask` uint8 [B, H, W], class ids,
    and `confidence` float32 [B, H, W], the probability of that class, in their own pixels.
    """

    resize: PillowResizeWhole
    advice = (
        " Images are of many shapes, and some networks (Swin, MaxViT) compute otherwise in each. Take a convolutional "
        "one, such as backbone=squeezenet1_1 or resnet50, or train with data.resize_mode=stretch: all images are then "
        "of one shape."
    )

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        without_ceil_pooling(self.network.net)
        self.most_px = max(self.resize.crop_px, LEAST_PX)

    def make_resize(self, preprocessing: Preprocessing) -> nn.Module:
        return PillowResizeWhole(preprocessing, size_divisible=1)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        pixels_B3hw, _, sizes_2 = self.resize(images)
        sides = [self.side(size_1) for size_1 in torch.split(sizes_2, 1)]
        drawn_B3hw = enlarged(self.network.normalise(pixels_B3hw), sides)  # as they are, where that is enough
        logits_BKhw = self.network.of_normalised(drawn_B3hw.to(self.dtype)).float()
        return pixel_answers(logits_BKhw, images.shape[2:], self.outputs.temperature or 1.0)

    def side(self, size_1: Tensor) -> int:
        """Pixels of a side that the network gets, as `drawn_out` has it; in an exported graph a symbol, unless it can
        be one number only.
        """
        if self.resize.mode == "stretch" or self.most_px == LEAST_PX:
            return self.most_px
        side_px: Any = size_1.clamp(min=LEAST_PX).item()
        torch._check(side_px >= LEAST_PX)
        torch._check(side_px <= self.most_px)
        found: int = side_px
        return found


def pixel_answers(logits_BKhw: Tensor, size: Sequence[int], temperature: float) -> tuple[Tensor, Tensor]:
    """As `answers_at`, of several images and in a graph of fixed length: the probability of the best class is one over
    the sum of exp(logit - its own), which is carried on from some classes to the next.
    """
    classes_BHW, best_BHW, total_BHW = (torch.zeros(()) for _ in range(3))
    for first in range(0, logits_BKhw.shape[1], CLASSES_AT_ONCE):
        values_BKHW = enlarged(logits_BKhw[:, first : first + CLASSES_AT_ONCE], size)
        highest_BHW, places_BHW = values_BKHW.max(dim=1)
        places_BHW = (places_BHW + first).to(torch.uint8)
        if first:
            before_BHW, better_BHW = best_BHW, highest_BHW > best_BHW
            places_BHW = torch.where(better_BHW, places_BHW, classes_BHW)
            highest_BHW = torch.where(better_BHW, highest_BHW, before_BHW)
            total_BHW = total_BHW * ((before_BHW - highest_BHW) / temperature).exp()
        classes_BHW, best_BHW = places_BHW, highest_BHW
        total_BHW = total_BHW + ((values_BKHW - best_BHW[:, None]) / temperature).exp().sum(dim=1)
    return classes_BHW, 1 / total_BHW
