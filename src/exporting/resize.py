"""Resizing as Pillow does it, in plain tensor operations: the pixels of an exported file are those of src.predict.

Shapes: B images, H and W pixels, S pixels of the square that the network sees, I old pixels of a side.
"""

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
        height, width = images_BCHW.shape[2:]
        # As tensors, since comparing the sizes themselves would make the exported graph one for some sizes only.
        height_1, width_1 = torch.full((1,), height), torch.full((1,), width)
        new_height_1, new_width_1 = self.new_sizes(height_1, width_1)
        columns_SW = self.weights(torch.arange(width), width_1, new_width_1)
        rows_SH = self.weights(torch.arange(height), height_1, new_height_1)
        pixels_BCHW = images_BCHW.double()
        rows_first_BCSS = to_whole(rows_SH @ to_whole(pixels_BCHW @ columns_SW.T))
        columns_first_BCSS = to_whole(to_whole(rows_SH @ pixels_BCHW) @ columns_SW.T)
        shrinks_1 = new_height_1 < height_1
        tall_1 = shrinks_1 & (height_1 - new_height_1 > 2 * (width_1 - new_width_1))
        resized_BCSS = torch.where(tall_1, columns_first_BCSS, rows_first_BCSS)
        if self.mode == "fit":
            inside_SS = self.inside(new_height_1)[:, None] & self.inside(new_width_1)
            color_311 = torch.tensor(self.padding_color, dtype=torch.float64).view(3, 1, 1)
            resized_BCSS = torch.where(inside_SS, resized_BCSS, color_311)
        return resized_BCSS.float()

    def new_sizes(self, height_1: Tensor, width_1: Tensor) -> tuple[Tensor, Tensor]:
        """Height and width of the whole image once it is scaled."""
        if self.mode == "stretch":
            side_1 = torch.full((1,), self.crop_px)
            return side_1, side_1
        if self.mode == "fit":
            longer_1 = torch.maximum(height_1, width_1)
            return (self.crop_px * height_1 // longer_1).clamp(min=1), (self.crop_px * width_1 // longer_1).clamp(min=1)
        shorter_1 = torch.minimum(height_1, width_1)
        return self.resize_px * height_1 // shorter_1, self.resize_px * width_1 // shorter_1

    def kept(self, new_size_1: Tensor) -> Tensor:
        """Which pixels of a scaled side the square shows, [S]; those of the padding are below 0 or beyond its end."""
        margin_1 = new_size_1 - self.crop_px
        # Python's round(margin / 2), which takes halves to the even number.
        return torch.arange(self.crop_px) + margin_1 // 2 + (margin_1 % 2) * ((margin_1 // 2) % 2)

    def inside(self, new_size_1: Tensor) -> Tensor:
        kept_S = self.kept(new_size_1)
        return (kept_S >= 0) & (kept_S < new_size_1)

    def weights(self, positions_I: Tensor, size_1: Tensor, new_size_1: Tensor) -> Tensor:
        """float64 [S, I]: the share of each of the I old pixels in each new pixel that the square shows.

        The distance of two pixels' centres, in units of the widened filter, is a fraction of whole numbers.
        """
        kept_S = self.kept(new_size_1)
        if self.mode == "fit":  # something finite for the padding, which is painted over
            kept_S = torch.minimum(kept_S.clamp(min=0), new_size_1 - 1)
        numerator_SI = (2 * positions_I + 1) * new_size_1 - ((2 * kept_S + 1) * size_1)[:, None]
        shares_SI = self.filter(numerator_SI.double() / (2 * torch.maximum(size_1, new_size_1)).double())
        shares_SI = shares_SI / shares_SI.sum(dim=1, keepdim=True)
        return torch.floor(shares_SI / PILLOW_STEP + 0.5) * PILLOW_STEP


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
