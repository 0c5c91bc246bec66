"""One classifier of several: the mean of their probabilities. Shapes: B images, K classes."""

from collections.abc import Sequence

from torch import Tensor

from src.training.combination import Combination, mean_logarithm
from src.training.output_layer import OutputLayer


class ClassificationCombination(Combination):
    """Gives logits [B, K] whose softmax is the mean of the probabilities, and whose energy (`ood_score`) is the mean
    of the energies.
    """

    def answer(self, layer: OutputLayer, logits_BK: Tensor) -> Tensor:
        """Calibrated logits with the energy of the others."""
        assert layer.temperature is not None
        energy_B1 = logits_BK.logsumexp(dim=1, keepdim=True)
        return (logits_BK / layer.temperature).log_softmax(dim=1) + energy_B1

    def mean(self, answers: Sequence[Tensor]) -> Tensor:
        energies = [logits_BK.logsumexp(dim=1, keepdim=True) for logits_BK in answers]
        return mean_logarithm([one.log_softmax(dim=1) for one in answers]) + sum(energies) / len(energies)
