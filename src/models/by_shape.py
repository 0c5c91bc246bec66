"""Images of different sizes through a network, each as if it were alone.

Padded to a common size, an image would have other outputs: normalisation averages over the padding too (GroupNorm of a
detector's head moves scores by several points). So images of one shape are computed together.
"""

from collections.abc import Callable, Sequence
from itertools import chain

import torch
from torch import Tensor

from src.models.detector import BoxTargets, DetectorNetwork, Images


def outputs_by_shape(network: Callable[[Tensor], Tensor], images: Images) -> Tensor | list[Tensor]:
    """The network's outputs [B, ...], in order; a list of [...] each where they differ in shape as the images do."""
    if isinstance(images, Tensor):
        return network(images)
    groups = groups_by_shape(images)
    found = [network(torch.stack([images[b] for b in group])) for group in groups]
    if len({outputs.shape[1:] for outputs in found}) == 1:
        return in_order(found, groups)
    of_image = dict(zip(chain(*groups), chain(*found), strict=True))
    return [of_image[b] for b in range(len(images))]


def loss_and_outputs_by_shape(model: DetectorNetwork, images: Images, targets: BoxTargets) -> tuple[Tensor, Tensor]:
    """The sum of all losses, and outputs [B, D, 6], as of `losses_and_outputs`; the loss is the mean over images."""
    groups = groups_by_shape(images)
    found = [model.losses_and_outputs([images[b] for b in group], [targets[b] for b in group]) for group in groups]
    sums = [
        len(group) * torch.stack(list(parts.values())).sum() for group, (parts, _) in zip(groups, found, strict=True)
    ]
    return torch.stack(sums).sum() / len(images), in_order([outputs for _, outputs in found], groups)


def groups_by_shape(images: Images) -> list[list[int]]:
    """Places of the images of each shape."""
    places: dict[torch.Size, list[int]] = {}
    for b, image in enumerate(images):
        places.setdefault(image.shape, []).append(b)
    return list(places.values())


def in_order(outputs: Sequence[Tensor], groups: list[list[int]]) -> Tensor:
    joined = torch.cat(list(outputs))
    return joined[torch.tensor([b for group in groups for b in group], device=joined.device).argsort()]
