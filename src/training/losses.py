"""Losses that torch does not have, and weights that make up for rare classes."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FocalLoss(nn.Module):
    """Cross entropy that counts well-classified images less: (1 - p)^gamma * -log p, p the true class's probability.

    Lin et al. 2017, arXiv 1708.02002, equation 4, over softmax probabilities of logits [B, K] and class indices int64
    [B] or shares of the classes float [B, K], as mixed images have them. With `weight` [K] (the paper's alpha) the
    average over the batch is weighted by the images' classes.
    """

    weight: Tensor | None

    def __init__(self, gamma: float = 2.0, weight: Tensor | None = None) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("weight", weight)

    def forward(self, logits_BK: Tensor, labels: Tensor) -> Tensor:
        log_p_BK = F.log_softmax(logits_BK.float(), dim=1)
        losses_BK = (-torch.expm1(log_p_BK)).clamp(min=0) ** self.gamma * -log_p_BK
        shares_BK = labels if labels.is_floating_point() else F.one_hot(labels, logits_BK.shape[1]).to(losses_BK.dtype)
        if self.weight is None:
            return (losses_BK * shares_BK).sum(dim=1).mean()
        weights_BK = self.weight * shares_BK
        return (losses_BK * weights_BK).sum() / weights_BK.sum()


class LogitAdjustedLoss(nn.Module):
    """Cross entropy that expects rare classes rarely in training, so that outputs favour no class afterwards.

    In training, tau * log(share of the class in train) is added to the logits; in evaluation they are taken as they are
    (Menon et al. 2021, arXiv 2007.07314, equation 10). With tau 1 the outputs aim at the balanced accuracy: they are
    those of a world in which all classes are equally common. Takes logits [B, K] and class indices [B] or shares of the
    classes [B, K]. `class_counts` [K]: training images of each class.
    """

    log_shares: Tensor

    def __init__(self, class_counts: Tensor, tau: float = 1.0, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.tau, self.label_smoothing = tau, label_smoothing
        counts_K = class_counts.float().clamp(min=1)  # a class that train lacks
        self.register_buffer("log_shares", (counts_K / counts_K.sum()).log())

    def forward(self, logits_BK: Tensor, labels: Tensor) -> Tensor:
        if self.training:
            logits_BK = logits_BK + self.tau * self.log_shares
        return F.cross_entropy(logits_BK, labels, label_smoothing=self.label_smoothing)


EFFECTIVE_BETA = 0.999  # one of the values that the paper tries; it suits classes of up to some thousand images


def class_weights(kind: str, counts_K: npt.NDArray[np.int64], images: int | None = None) -> Tensor:
    """float32 [K], from how many training images show each class.

    Args:
        kind: `inverse`: by one over the number n of images of a class; `effective`: by (1 - b) / (1 - b^n), b 0.999,
            which differs less between rich classes (Cui et al. 2019, arXiv 1901.05555, equation 4).
        counts_K: of one class per image, then the weights' mean over the images is 1.
        images: of train, where each may show several classes: the weights are then how much more an image counts that
            shows the class than one that does not.
    """

    def rarity(counts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        counts = np.maximum(counts.astype(np.float64), 1)
        return 1 / counts if kind == "inverse" else (1 - EFFECTIVE_BETA) / (1 - EFFECTIVE_BETA**counts)

    weights_K = rarity(counts_K)
    if images is None:
        weights_K *= counts_K.sum() / (weights_K * counts_K).sum()
    else:
        weights_K /= rarity(images - counts_K)
    return torch.from_numpy(weights_K).float()
