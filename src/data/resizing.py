"""From images of any size to the size that the network sees, in the ways that a Preprocessing knows.

Every step takes an image alone or together with its targets (`torchvision.tv_tensors`), which move with it.
"""

from typing import Any

from PIL import Image
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from src.data.decode import scaled_size
from src.models.preprocessing import Preprocessing


def resized(preprocessing: Preprocessing) -> v2.Compose:
    """Images of `crop_px` by `crop_px` pixels, as evaluation sees them."""
    side = preprocessing.crop_px
    interpolation = InterpolationMode(preprocessing.interpolation)
    if preprocessing.resize_mode == "stretch":
        return v2.Compose([v2.Resize([side, side], interpolation=interpolation, antialias=True)])
    if preprocessing.resize_mode == "fit":
        return v2.Compose([FitInto(side, interpolation), PadTo(side, list(preprocessing.padding_color))])
    return v2.Compose(
        [
            RefuseThin(preprocessing.resize_px),
            v2.Resize([preprocessing.resize_px], interpolation=interpolation, antialias=True),
            v2.CenterCrop([side]),
        ]
    )


class RefuseThin(v2.Transform):
    """Changes nothing, and raises UnreadableImage where scaling the shorter side would make an image huge."""

    def __init__(self, shorter_px: int) -> None:
        super().__init__()
        self.shorter_px = shorter_px

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, Image.Image):
            scaled_size(inpt.size, self.shorter_px)
        return inpt


class ShrinkTo(v2.Transform):
    """Scales a larger image down until its shorter side has `shorter_px` pixels."""

    def __init__(self, shorter_px: int) -> None:
        super().__init__()
        self.shorter_px = shorter_px

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        sides = size_of_image(flat_inputs)
        shorter = max(min(sides), 1)
        is_larger = shorter > self.shorter_px
        return {"size": [round(side * self.shorter_px / shorter) for side in sides] if is_larger else None}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if params["size"] is None:
            return inpt
        return self._call_kernel(F.resize, inpt, params["size"], interpolation=InterpolationMode.BILINEAR)


class FitInto(v2.Transform):
    """Scales an image, up or down, until its longer side has `longer_px` pixels, and the other one at least 1."""

    def __init__(self, longer_px: int, interpolation: InterpolationMode) -> None:
        super().__init__()
        self.longer_px, self.interpolation = longer_px, interpolation

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        sides = size_of_image(flat_inputs)
        return {"size": [max(1, self.longer_px * side // max(sides)) for side in sides]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.resize, inpt, params["size"], interpolation=self.interpolation, antialias=True)


class PadTo(v2.Transform):
    """Puts an image of at most `side_px` by `side_px` pixels in the middle of a square of one colour (RGB 0..255)."""

    def __init__(self, side_px: int, color: list[int]) -> None:
        super().__init__()
        self.side_px, self.color = side_px, color

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = size_of_image(flat_inputs)
        left, top = (round((self.side_px - side) / 2) for side in (width, height))  # as torchvision's CenterCrop
        return {"padding": [left, top, self.side_px - width - left, self.side_px - height - top]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        fill = self.color if isinstance(inpt, Image.Image) else 0  # nothing is there in a mask
        return self._call_kernel(F.pad, inpt, padding=params["padding"], fill=fill)


def size_of_image(flat_inputs: list[Any]) -> tuple[int, int]:
    """Height and width in pixels."""
    width, height = next(one.size for one in flat_inputs if isinstance(one, Image.Image))
    return height, width
