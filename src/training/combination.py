"""One answer of several: of several networks, or of one network to several views of an image.

Shapes: B images, K outputs of a network, M answers.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from src.training.output_layer import OutputLayer


class Combination(nn.Module, ABC):
    """From the outputs of M networks to outputs of which the task's output layer makes the mean of their answers.

    `layers`: of each, as calibrated where its answers are to be. `orders`: of each, where the first network's classes
    (or targets) are among its own; None = in the same order.
    """

    def __init__(self, layers: Sequence[OutputLayer], orders: Sequence[Sequence[int] | None]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        for m, order in enumerate(orders):
            self.register_buffer(f"order_{m}", None if order is None else torch.tensor(order))

    def forward(self, outputs: Sequence[Tensor]) -> Tensor:
        answers = []
        for m, (layer, one) in enumerate(zip(self.layers, outputs, strict=True)):
            assert isinstance(layer, OutputLayer)
            answer, order = self.answer(layer, one.float()), getattr(self, f"order_{m}")
            answers.append(answer if order is None else self.reordered(answer, order))
        return self.mean(answers)

    def reordered(self, answer: Tensor, order: Tensor) -> Tensor:
        """With the classes in the order of the first network's."""
        return answer.index_select(1, order)

    def own_labels(self, m: int, labels: Tensor) -> Tensor:
        """Class ids of the first network as network `m` counts them."""
        order = getattr(self, f"order_{m}")
        own: Tensor = labels if order is None else order[labels]
        return own

    @abstractmethod
    def answer(self, layer: OutputLayer, outputs: Tensor) -> Tensor:
        """What is averaged, float32; the second axis is that of the classes."""

    @abstractmethod
    def mean(self, answers: Sequence[Tensor]) -> Tensor:
        """The outputs of which the task's output layer makes the mean."""

    def unmirrored(self, outputs: Tensor) -> Tensor:
        """The outputs for a mirrored image, with their places where they are in the image."""
        return outputs


def mean_logarithm(logarithms: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of what these are logarithms of."""
    return torch.stack(list(logarithms)).logsumexp(dim=0) - torch.tensor(len(logarithms)).log()
