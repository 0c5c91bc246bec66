"""The last layer of a model for any number of classes per image: probabilities from logits."""

import torch
from torch import Tensor, nn

from src.evaluation.prediction import Outputs
from src.training.output_layer import OutputLayer, shares_of


class MultilabelOutputs(OutputLayer):
    """`probabilities` float32 [B, K], calibrated, and `ood_score` float32 [B], from logits [B, K].

    The score is the joint energy of the logits (Wang et al. 2021, arXiv 2111.14767): the higher, the less an image
    looks like those of the training. `thresholds_K` are of probabilities before calibration, `thresholds` after it.
    """

    temperature: float

    def __init__(self, class_names: list[str], temperature: float, thresholds_K: Tensor) -> None:
        super().__init__(class_names, temperature)
        self.thresholds = torch.sigmoid(torch.logit(thresholds_K) / temperature).tolist()

    def forward(self, logits_BK: Tensor) -> dict[str, Tensor]:
        logits_BK = logits_BK.float()
        shares_BK = torch.sigmoid(logits_BK / self.temperature)
        return {"probabilities": shares_BK, "ood_score": -nn.functional.softplus(logits_BK).sum(dim=1)}

    def undo(self, outputs: Outputs) -> Tensor:
        return torch.logit(shares_of(outputs)) * self.temperature
