"""How a detector makes one batch of images."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList


class Batching(nn.Module):
    """In the place of torchvision's transform: images of different sizes become one batch; nothing is resized."""

    def __init__(self, size_divisible: int, memory_format: torch.memory_format) -> None:
        super().__init__()
        self.size_divisible, self.memory_format = size_divisible, memory_format

    def forward(self, images: list[Tensor], targets: Any = None) -> tuple[ImageList, Any]:
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        height, width = (
            -(-max(side) // self.size_divisible) * self.size_divisible for side in zip(*sizes, strict=True)
        )
        batch_BCHW = images[0].new_zeros(len(images), 3, height, width).to(memory_format=self.memory_format)
        for place_CHW, image_CHW in zip(batch_BCHW, images, strict=True):
            place_CHW[:, : image_CHW.shape[-2], : image_CHW.shape[-1]].copy_(image_CHW)
        return ImageList(batch_BCHW, sizes), targets

    def postprocess(self, result: Any, image_sizes: Any, original_image_sizes: Any) -> Any:
        return result
