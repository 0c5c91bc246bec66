"""Losses that torch does not have. All take logits [B, K] and class indices int64 [B], and average over the batch."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FocalLoss(nn.Module):
    """Cross entropy that counts well-classified pictures less: (1 - p)^gamma * -log p, p the true class's probability.

    Lin et al. 2017, arXiv 1708.02002, equation 4 (without the class factor alpha), over softmax probabilities.
    """

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        log_p_B = F.log_softmax(logits_BK.float(), dim=1).gather(1, labels_B[:, None]).squeeze(1)
        return torch.mean((-torch.expm1(log_p_B)).clamp(min=0) ** self.gamma * -log_p_B)
