"""A network that says a class for each pixel, of uint8 images.

Shapes: B images, H and W pixels, K classes, h and w places of a coarser map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.models.adapted import AdaptedNetwork
from src.models.preprocessing import Preprocessing

Images: TypeAlias = Tensor | Sequence[Tensor]  # uint8 [B, 3, H, W], or B of [3, H, W] of different sizes
LEAST_PX = 32  # the coarsest stride
PIXELS_AT_ONCE = 2**25  # times classes, of logits that are made larger: 128 MiB


class PixelNetwork(nn.Module):
    """`backbone` makes maps of normalised images, `classifier` logits [B, K, h, w] of these, by torchvision's names.

    `aux_classifier`: the same of what the backbone has halfway, for a second loss; None = no such.
    """

    def __init__(self, backbone: nn.Module, classifier: nn.Module, aux_classifier: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone, self.classifier, self.aux_classifier = backbone, classifier, aux_classifier

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        maps: Any = self.backbone(images_BCHW)
        return self.classifier(maps), None if self.aux_classifier is None else self.aux_classifier(maps)


@dataclass(frozen=True)
class NewSegmenter:
    """`head_names`: its new modules, from input to output."""

    net: PixelNetwork
    head_names: list[str]


class SegmenterNetwork(AdaptedNetwork):
    """Images of a batch are padded at the right and below to one size in training."""

    net: PixelNetwork

    def __init__(self, segmenter: NewSegmenter, preprocessing: Preprocessing, channels_last: bool) -> None:
        super().__init__(segmenter.net, segmenter.head_names, preprocessing, channels_last)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits float32 [B, K, h, w], as coarse as the network makes them, of images of one size."""
        return self.of_normalised(self.normalise(images_BCHW)).float()

    def of_normalised(self, images_BCHW: Tensor) -> Tensor:
        return self.both_of(images_BCHW)[0]

    def both_of(self, batch_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the network makes of them; those that are too thin for its coarsest map are drawn out first."""
        found: tuple[Tensor, Tensor | None] = self.net(drawn_out(batch_BCHW, batch_BCHW.shape[-2:]))
        return found

    def training_logits(self, images: Images) -> tuple[Tensor, Tensor | None]:
        """Logits float32 [B, K, H, W] of images that are padded to one size, and those of the second loss."""
        batch_BCHW = padded(images, self.normalise)
        size = batch_BCHW.shape[-2:]
        logits, auxiliary = self.both_of(batch_BCHW)
        return enlarged(logits, size), None if auxiliary is None else enlarged(auxiliary, size)


def drawn_out(batch_BCHW: Tensor, sides: Sequence[int]) -> Tensor:
    """With at least LEAST_PX pixels of both sides. By their size alone, so that an exported graph can do the same."""
    return batch_BCHW if min(sides) >= LEAST_PX else enlarged(batch_BCHW, [max(side, LEAST_PX) for side in sides])


def padded(images: Images, normalise: Any) -> Tensor:
    """As one batch, normalised; 0, the mean colour, where there is no image."""
    if isinstance(images, Tensor):
        normalised: Tensor = normalise(images)
        return normalised
    height, width = (max(image.shape[side] for image in images) for side in (-2, -1))
    made = [normalise(image[None]) for image in images]
    return torch.cat([F.pad(one, (0, width - one.shape[-1], 0, height - one.shape[-2])) for one in made])


def padded_masks(masks: Sequence[Tensor], size: Sequence[int], void: int) -> Tensor:
    """int64 [B, H, W] of masks uint8 [h, w], void where there is no image."""
    both = [F.pad(mask, (0, size[1] - mask.shape[-1], 0, size[0] - mask.shape[-2]), value=void) for mask in masks]
    return torch.stack(both).long()


def enlarged(logits_BKhw: Tensor, size: Sequence[int]) -> Tensor:
    """float32 [B, K, H, W] for each pixel of `size`, between the places of the map."""
    return F.interpolate(logits_BKhw.float(), size=tuple(size), mode="bilinear", align_corners=False)


def classes_at(logits_Khw: Tensor, size: Sequence[int]) -> Tensor:
    """The class of each pixel, uint8 [H, W]: where the logits, `enlarged` to this size, are highest.

    The first of equals; 0 where logits are no numbers.
    """
    return _highest(logits_Khw, size, None)[0]


def answers_at(logits_Khw: Tensor, size: Sequence[int], temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """The same, and the probability of that class, float32 [H, W]; NaN where logits are no numbers."""
    classes_HW, best_HW, total_HW = _highest(logits_Khw, size, temperature)
    return classes_HW, (best_HW / temperature - total_HW).exp()


def _highest(logits_Khw: Tensor, size: Sequence[int], temperature: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """Of each pixel the class, its logit, and with a temperature the logarithm of the sum of all exponentials.

    A few classes at a time, since an image of 12 megapixels has 10 GB of logits of 200 classes.
    """
    some = max(1, PIXELS_AT_ONCE // (size[0] * size[1]))
    best_HW = torch.full((size[0], size[1]), -torch.inf, device=logits_Khw.device)
    classes_HW = torch.zeros(best_HW.shape, dtype=torch.uint8, device=logits_Khw.device)
    total_HW = best_HW
    for first in range(0, len(logits_Khw), some):
        values_KHW = enlarged(logits_Khw[None, first : first + some], size)[0]
        highest_HW, places_HW = values_KHW.max(dim=0)
        better_HW = highest_HW > best_HW
        classes_HW = torch.where(better_HW, (places_HW + first).to(torch.uint8), classes_HW)
        best_HW = torch.where(better_HW, highest_HW, best_HW)
        if temperature is not None:
            total_HW = torch.logaddexp(total_HW, (values_KHW / temperature).logsumexp(dim=0))
    return classes_HW, best_HW, total_HW
