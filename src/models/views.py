"""Other views of an image, whose answers are averaged with that of the image as it is (test-time augmentation)."""

import torch
from torch import Tensor, nn


class View(nn.Module):
    """Takes normalised images [B, 3, H, W]; this one leaves them as they are.

    `mirrored`: left and right change places, so places in the answers have to change back.
    """

    mirrored = False

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW


class Mirrored(View):
    mirrored = True

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW.flip(-1)


class Smaller(View):
    """Squares of `from_px` scaled down to `to_px` a side, by the triangle filter, as antialiased bilinear resizing.

    The weights are made once, so that an exported graph has two products of matrices.
    """

    weights_hH: Tensor

    def __init__(self, from_px: int, to_px: int) -> None:
        super().__init__()
        self.register_buffer("weights_hH", triangle_weights(from_px, to_px))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        weights_hH = self.weights_hH.to(images_BCHW.dtype)
        return weights_hH @ images_BCHW @ weights_hH.T


class Chain(View):
    """One view after the other."""

    def __init__(self, *views: View) -> None:
        super().__init__()
        self.views = nn.ModuleList(views)
        self.mirrored = sum(view.mirrored for view in views) % 2 == 1

    def forward(self, images_BCHW: Tensor) -> Tensor:
        for view in self.views:
            images_BCHW = view(images_BCHW)
        return images_BCHW


def triangle_weights(from_px: int, to_px: int) -> Tensor:
    """float32 [to, from]: the share of each old pixel in each new one along a side that becomes shorter."""
    step = from_px / to_px
    middles_h = (torch.arange(to_px, dtype=torch.float64) + 0.5) * step
    distances_hH = (torch.arange(from_px, dtype=torch.float64) + 0.5 - middles_h[:, None]).abs() / step
    shares_hH = (1 - distances_hH).clamp(min=0)
    return (shares_hH / shares_hH.sum(dim=1, keepdim=True)).float()
