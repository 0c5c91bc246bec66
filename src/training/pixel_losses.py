"""Losses over pixels that have one class each.

Shapes: B images, K classes, H and W pixels. All take logits float [B, K, H, W] and classes int64 [B, H, W], in which
VOID pixels count for nothing, and give a mean; 0 where every pixel is void.
"""

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.evaluation.pixels.confusion import VOID
from src.settings.rules import at_least


class PixelCrossEntropy(nn.Module):
    """Cross entropy of each pixel, or with `gamma` its focal loss (Lin et al. 2017, arXiv 1708.02002), and with
    `dice_share` so much of a Dice loss (Milletari et al. 2016, arXiv 1606.04797) beside.

    The Dice loss of a class is 1 - 2 * overlap / (found + true pixels) with probabilities as pixels, over all images
    of the batch; the mean over the classes that are in it. `weight` [K] counts the pixels of a class more or less.
    """

    weight: Tensor | None

    def __init__(
        self,
        gamma: Annotated[float, at_least(0)] = 0.0,
        dice_share: Annotated[float, at_least(0, at_most=1)] = 0.0,
        weight: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.gamma, self.dice_share = gamma, dice_share
        self.register_buffer("weight", weight)

    def forward(self, logits_BKHW: Tensor, masks_BHW: Tensor) -> Tensor:
        known_BHW = masks_BHW != VOID
        if not known_BHW.any():
            return logits_BKHW.sum() * 0.0
        log_p_BKHW = F.log_softmax(logits_BKHW.float(), dim=1)
        loss = self.by_pixel(log_p_BKHW, masks_BHW)
        if self.dice_share:
            dice = dice_loss(log_p_BKHW.exp(), masks_BHW, known_BHW)
            loss = (1 - self.dice_share) * loss + self.dice_share * dice
        return loss

    def by_pixel(self, log_p_BKHW: Tensor, masks_BHW: Tensor) -> Tensor:
        if self.gamma:
            log_p_BKHW = (-torch.expm1(log_p_BKHW)).clamp(min=0) ** self.gamma * log_p_BKHW
        return F.nll_loss(log_p_BKHW, masks_BHW, self.weight, ignore_index=VOID)


def dice_loss(p_BKHW: Tensor, masks_BHW: Tensor, known_BHW: Tensor) -> Tensor:
    truth_BKHW = F.one_hot(masks_BHW.where(known_BHW, 0), p_BKHW.shape[1]).movedim(-1, 1) * known_BHW[:, None]
    overlap_K = (p_BKHW * truth_BKHW).sum(dim=(0, 2, 3))
    sums_K = (p_BKHW * known_BHW[:, None]).sum(dim=(0, 2, 3)) + truth_BKHW.sum(dim=(0, 2, 3))
    there_K = truth_BKHW.sum(dim=(0, 2, 3)) > 0
    return 1 - (2 * overlap_K / sums_K.clamp(min=1e-6))[there_K].mean()
