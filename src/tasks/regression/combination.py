"""One model for numbers of several: the mean of their values."""

from collections.abc import Sequence

from torch import Tensor

from src.tasks.regression.export import RegressionOutputs
from src.training.combination import Combination
from src.training.output_layer import OutputLayer


class RegressionCombination(Combination):
    """Gives outputs [B, T] in standard deviations of the first network's labels, as its output layer takes them."""

    def answer(self, layer: OutputLayer, outputs_BT: Tensor) -> Tensor:
        """In the units of the labels: each network has standard deviations of its own."""
        values_BT: Tensor = layer(outputs_BT)["values"]
        return values_BT

    def mean(self, answers: Sequence[Tensor]) -> Tensor:
        first = self.layers[0]
        assert isinstance(first, RegressionOutputs)
        return (sum(answers) / len(answers) - first.mean_T) / first.std_T
