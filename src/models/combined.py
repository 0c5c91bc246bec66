"""Several networks, or several views through one, as one network. Shapes: B images, H and W pixels."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from src.models.adapted import AdaptedNetwork
from src.models.preprocessing import Preprocessing
from src.models.views import View


class Combining(Protocol):
    """What makes one answer of several; see src/training/combination.py."""

    def __call__(self, outputs: Sequence[Tensor]) -> Tensor: ...
    def unmirrored(self, outputs: Tensor) -> Tensor: ...
    def own_labels(self, m: int, labels: Tensor) -> Tensor: ...


class CombinedNetwork(AdaptedNetwork):
    """Answers as one of its `members` would, of which all see the same pixels: whatever takes a network takes this one.

    `combine` gets the outputs of every member for the first view, then for the second, and so on.
    """

    net: nn.ModuleList
    combine: Combining

    def __init__(
        self, members: Sequence[AdaptedNetwork], views: Sequence[View], combine: nn.Module, preprocessing: Preprocessing
    ) -> None:
        channels_last = members[0].memory_format == torch.channels_last
        super().__init__(nn.ModuleList(members), [], preprocessing, channels_last)
        self.views, self.combine = nn.ModuleList(views), combine  # type: ignore[assignment]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.of_normalised(self.normalise(images_BCHW)).float()

    def of_normalised(self, images_BCHW: Tensor) -> Tensor:
        outputs: list[Tensor] = []
        for view in self.views:
            seen_BCHW = view(images_BCHW)
            found = [member.of_normalised(seen_BCHW) for member in self.net]  # type: ignore[operator]
            outputs += [self.combine.unmirrored(one) for one in found] if view.mirrored else found
        return self.combine(outputs)

    def watch_head(self, see: Callable[[Tensor], None]) -> None:
        """Several heads get several vectors, of which none is the image's."""
        return
