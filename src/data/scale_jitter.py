"""Images in random sizes, with what moves with them."""

from typing import Any

import torch
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from src.data.transforms import resized_to, size_of_image


class ScaleJitter(v2.Transform):
    """Scales an image by a random factor, 1 - `amount` to 1 + `amount`, and cuts a random part out of what then exceeds
    `largest_px` on a side (large-scale jitter in small; Ghiasi et al. 2021, arXiv 2012.07177).
    """

    def __init__(self, amount: float, largest_px: int) -> None:
        super().__init__()
        self.amount, self.largest_px = amount, largest_px

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        factor, *places = torch.rand(3).tolist()
        factor = 1 + self.amount * (2 * factor - 1)
        size = [max(1, round(side * factor)) for side in size_of_image(flat_inputs)]
        cut = [min(side, self.largest_px) for side in size]
        top, left = (round(place * (side - part)) for place, side, part in zip(places, size, cut, strict=True))
        return {"size": size, "cut": (top, left, *cut)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        scaled = resized_to(self, inpt, params["size"], InterpolationMode.BILINEAR)
        return self._call_kernel(F.crop, scaled, *params["cut"])
