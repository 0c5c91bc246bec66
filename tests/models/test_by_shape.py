"""Images of several shapes through a network: each as if it were alone, in order."""

import torch
from torch import Tensor

from src.models.by_shape import outputs_by_shape


def test_images_of_one_shape_are_computed_together_and_come_back_in_order() -> None:
    """Padded to one size, their normalisation would average over the padding."""
    seen: list[int] = []

    def network(images_BCHW: Tensor) -> Tensor:
        seen.append(len(images_BCHW))
        return images_BCHW.float().mean(dim=(2, 3))

    shapes = [(4, 6), (6, 4), (4, 6), (5, 5), (6, 4), (4, 6)]
    images = [torch.full((3, *shape), value, dtype=torch.uint8) for value, shape in enumerate(shapes)]
    assert outputs_by_shape(network, images).tolist() == [[value] * 3 for value in range(6)] and seen == [3, 2, 1]
    assert outputs_by_shape(network, torch.stack([images[0], images[2]])).shape == (2, 3)
