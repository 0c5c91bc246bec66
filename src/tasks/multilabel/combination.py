"""One model for any number of classes per image of several: the mean of their probabilities."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import logsigmoid

from src.training.combination import Combination, mean_logarithm
from src.training.output_layer import OutputLayer


class MultilabelCombination(Combination):
    """Gives logits [B, K] whose sigmoid is the mean of the probabilities; `ood_score` is that of these logits."""

    def answer(self, layer: OutputLayer, logits_BK: Tensor) -> Tensor:
        assert layer.temperature is not None
        return logits_BK / layer.temperature

    def mean(self, answers: Sequence[Tensor]) -> Tensor:
        shown, not_shown = ([logsigmoid(sign * one) for one in answers] for sign in (1, -1))
        return mean_logarithm(shown) - mean_logarithm(not_shown)
