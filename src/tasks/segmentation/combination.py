"""One segmenter of several: the mean of their probabilities. Shapes: B images, K classes, h and w places of a map."""

from collections.abc import Sequence

from torch import Tensor

from src.models.segmenter import enlarged
from src.training.combination import Combination, mean_logarithm
from src.training.output_layer import OutputLayer


class SegmentationCombination(Combination):
    """Gives logits [B, K, h, w] whose softmax is the mean of the probabilities at the places of the first network's
    map; between these, pixels are as those of a single network.
    """

    def answer(self, layer: OutputLayer, logits_BKhw: Tensor) -> Tensor:
        assert layer.temperature is not None
        return logits_BKhw / layer.temperature

    def mean(self, answers: Sequence[Tensor]) -> Tensor:
        size = answers[0].shape[-2:]
        return mean_logarithm([enlarged(one, size).log_softmax(dim=1) for one in answers])

    def unmirrored(self, outputs: Tensor) -> Tensor:
        return outputs.flip(-1)
