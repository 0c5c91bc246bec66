"""Images of different sizes through a network, each as if it were alone."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Images = Tensor | Sequence[Tensor]  # uint8 [B, 3, H, W], or B of [3, H, W]


def outputs_by_shape(network: Callable[[Tensor], Tensor], images: Images) -> Tensor:
    """The network's outputs [B, ...], in order. Images of one shape are computed together.

    Padded to a common size, an image would have other outputs than alone: normalisation averages over the padding too.
    """
    if isinstance(images, Tensor):
        return network(images)
    places: dict[torch.Size, list[int]] = {}
    for b, image in enumerate(images):
        places.setdefault(image.shape, []).append(b)
    outputs = torch.cat([network(torch.stack([images[b] for b in group])) for group in places.values()])
    order = torch.tensor([b for group in places.values() for b in group], device=outputs.device)
    return outputs[order.argsort()]
