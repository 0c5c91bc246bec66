"""The last layer of a classifier: probabilities from logits."""

import torch
from torch import Tensor

from src.evaluation.prediction import Outputs
from src.training.output_layer import OutputLayer, shares_of


class ClassificationOutputs(OutputLayer):
    """`probabilities` float32 [B, K], calibrated, and `ood_score` float32 [B], from logits [B, K].

    The score is the energy of the logits (Liu et al. 2020, arXiv 2010.03759): the higher, the less an image looks like
    those of the training.
    """

    temperature: float

    def forward(self, logits_BK: Tensor) -> dict[str, Tensor]:
        logits_BK = logits_BK.float()
        shares_BK = torch.softmax(logits_BK / self.temperature, dim=1)
        return {"probabilities": shares_BK, "ood_score": -torch.logsumexp(logits_BK, dim=1)}

    def undo(self, outputs: Outputs) -> Tensor:
        """With the energy that they had, too."""
        logits_BK = torch.log(shares_of(outputs)) * self.temperature
        energies_B = torch.logsumexp(logits_BK, dim=1) + torch.from_numpy(outputs["ood_score"])
        return logits_BK - energies_B[:, None]
