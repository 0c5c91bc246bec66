"""Resizing as Pillow does it, in plain tensor operations: the pixels of an exported file are those of src.predict.

Shapes: B images, H and W pixels, h and w pixels that the network sees, S a side of these, I old pixels of a side.
"""

from typing import Any

import torch
from torch import Tensor, nn

from src.models.preprocessing import Preprocessing

PILLOW_STEP = 2.0**-22  # Pillow rounds the weights of its filters to this


class PillowResize(nn.Module):
    """The `crop_px` square that the network sees of an image of any size: the pixels of `evaluation_transform`.

    That one resizes with Pillow, and every runtime's own Resize differs from it. Pillow's resampling is linear in the
    pixels of a row, so it is a product with a matrix of weights; only the rows and columns that the crop keeps are
    computed. As in Pillow the filter is widened by the scale, edges are renormalised, weights are rounded to 22 bits,
    and values to whole numbers after each of the two passes (src/libImaging/Resample.c). In float64, where such sums
    are exact: many scales put whole rows of values on a half, and float32 would round these otherwise than Pillow.
    Since Pillow 13 tall images are resized along their columns first (python-pillow/Pillow#9549); the rule was found
    by trying sizes.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.mode, self.padding_color = preprocessing.resize_mode, preprocessing.padding_color
        self.resize_px, self.crop_px = preprocessing.resize_px, preprocessing.crop_px
        self.filter = {"bilinear": triangle, "bicubic": cubic}[preprocessing.interpolation]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Whole numbers 0..255, float32 [B, 3, S, S], of images uint8 [B, 3, H, W]."""
        sizes_2 = sizes_of(images_BCHW)
        new_sizes_2 = self.new_sizes(sizes_2)
        new_height_1, new_width_1 = torch.split(new_sizes_2, 1)
        kept = self.kept(new_height_1), self.kept(new_width_1)
        resized_BCSS = self.resampled(images_BCHW, sizes_2, new_sizes_2, *kept)
        if self.mode == "fit":
            inside_SS = inside(kept[0], new_height_1)[:, None] & inside(kept[1], new_width_1)
            color_311 = torch.tensor(self.padding_color, dtype=torch.float64).view(3, 1, 1)
            resized_BCSS = torch.where(inside_SS, resized_BCSS, color_311)
        return resized_BCSS.float()

    def resampled(
        self, images_BCHW: Tensor, sizes_2: Tensor, new_sizes_2: Tensor, kept_h: Tensor, kept_w: Tensor
    ) -> Tensor:
        """float64 [B, 3, h, w]: these rows and columns of the scaled image; beyond it is something finite."""
        (height_1, width_1), (new_height_1, new_width_1) = torch.split(sizes_2, 1), torch.split(new_sizes_2, 1)
        rows_hH = self.weights(torch.arange(images_BCHW.shape[2]), height_1, new_height_1, kept_h)
        columns_wW = self.weights(torch.arange(images_BCHW.shape[3]), width_1, new_width_1, kept_w)
        pixels_BCHW = images_BCHW.double()
        rows_first_BChw = to_whole(rows_hH @ to_whole(pixels_BCHW @ columns_wW.T))
        columns_first_BChw = to_whole(to_whole(rows_hH @ pixels_BCHW) @ columns_wW.T)
        shrinks_1 = new_height_1 < height_1
        tall_1 = shrinks_1 & (height_1 - new_height_1 > 2 * (width_1 - new_width_1))
        return torch.where(tall_1, columns_first_BChw, rows_first_BChw)

    def new_sizes(self, sizes_2: Tensor) -> Tensor:
        """Height and width of the whole image once it is scaled."""
        if self.mode == "stretch":
            return torch.full((2,), self.crop_px)
        if self.mode == "fit":
            return (self.crop_px * sizes_2 // sizes_2.max()).clamp(min=1)
        return self.resize_px * sizes_2 // sizes_2.min()

    def kept(self, new_size_1: Tensor) -> Tensor:
        """Which pixels of a scaled side the square shows, [S]; those of the padding are below 0 or beyond its end."""
        margin_1 = new_size_1 - self.crop_px
        # Python's round(margin / 2), which takes halves to the even number.
        return torch.arange(self.crop_px) + margin_1 // 2 + (margin_1 % 2) * ((margin_1 // 2) % 2)

    def weights(self, positions_I: Tensor, size_1: Tensor, new_size_1: Tensor, kept_S: Tensor) -> Tensor:
        """float64 [S, I]: the share of each of the I old pixels in each new pixel that the network sees.

        The distance of two pixels' centres, in units of the widened filter, is a fraction of whole numbers.
        """
        kept_S = torch.minimum(kept_S.clamp(min=0), new_size_1 - 1)  # something finite for the padding
        numerator_SI = (2 * positions_I + 1) * new_size_1 - ((2 * kept_S + 1) * size_1)[:, None]
        shares_SI = self.filter(numerator_SI.double() / (2 * torch.maximum(size_1, new_size_1)).double())
        shares_SI = shares_SI / shares_SI.sum(dim=1, keepdim=True)
        return torch.floor(shares_SI / PILLOW_STEP + 0.5) * PILLOW_STEP


class PillowResizeWhole(PillowResize):
    """The same where images keep their shape: padded at the right and below to multiples of `size_divisible`."""

    def __init__(self, preprocessing: Preprocessing, size_divisible: int) -> None:
        super().__init__(preprocessing)
        self.size_divisible = size_divisible

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """Whole numbers 0..255, float32 [B, 3, h, w]; which of their pixels are the image's, bool [h, w]; its height
        and width among them, int64 [2].
        """
        sizes_2 = sizes_of(images_BCHW)
        new_sizes_2 = self.new_sizes(sizes_2)
        kept_h, kept_w = (torch.arange(self.padded(size_1)) for size_1 in torch.split(new_sizes_2, 1))
        resized_BChw = self.resampled(images_BCHW, sizes_2, new_sizes_2, kept_h, kept_w)
        new_height_1, new_width_1 = torch.split(new_sizes_2, 1)
        inside_hw = inside(kept_h, new_height_1)[:, None] & inside(kept_w, new_width_1)
        return resized_BChw.float(), inside_hw, new_sizes_2

    def new_sizes(self, sizes_2: Tensor) -> Tensor:
        if self.mode == "stretch":
            return super().new_sizes(sizes_2)
        by_longer_2, by_shorter_2 = self.crop_px * sizes_2 // sizes_2.max(), self.resize_px * sizes_2 // sizes_2.min()
        return torch.minimum(by_longer_2, by_shorter_2).clamp(min=1)

    def padded(self, new_size_1: Tensor) -> int:
        """The side in pixels; in an exported graph a symbol, unless it can be one number only."""
        most = -(-self.crop_px // self.size_divisible)
        if most == 1 or self.mode == "stretch":
            return most * self.size_divisible
        parts: Any = (-(-new_size_1 // self.size_divisible)).item()  # not int(): it may be a symbol
        torch._check(parts >= 1)
        torch._check(parts <= most)
        side_px: int = parts * self.size_divisible
        return side_px


def sizes_of(images_BCHW: Tensor) -> Tensor:
    """Height and width, int64 [2].

    As a tensor, since comparing the sizes themselves would make the exported graph one for some sizes only.
    """
    return torch.cat([torch.full((1,), side) for side in images_BCHW.shape[2:]])


def inside(kept_S: Tensor, new_size_1: Tensor) -> Tensor:
    return (kept_S >= 0) & (kept_S < new_size_1)


def triangle(distance: Tensor) -> Tensor:
    return (1.0 - distance.abs()).clamp(min=0.0)


def cubic(distance: Tensor) -> Tensor:
    """Keys 1981 with a = -0.5, as in Pillow."""
    d = distance.abs().clamp(max=2.0)
    near, far = (1.5 * d - 2.5) * d * d + 1.0, ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return torch.where(d < 1.0, near, far)


def to_whole(values: Tensor) -> Tensor:
    """Rounded half up, 0..255."""
    return torch.floor(values + 0.5).clamp(0.0, 255.0)
