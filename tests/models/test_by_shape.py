"""Images of several shapes through a network: each as if it were alone, in order."""

import torch
from support.detectors import detector, images_and_targets
from torch import Tensor, nn

from src.models.by_shape import loss_and_outputs_by_shape, outputs_by_shape
from src.models.detection_heads import fcos


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


def test_outputs_as_different_as_the_images_come_back_in_order() -> None:
    images = [torch.full((3, *shape), n, dtype=torch.uint8) for n, shape in enumerate([(4, 6), (6, 4), (4, 6)])]
    found = outputs_by_shape(lambda images_BCHW: images_BCHW.float().mean(dim=1), images)
    assert isinstance(found, list) and [tuple(one.shape) for one in found] == [(4, 6), (6, 4), (4, 6)]
    assert [one.unique().tolist() for one in found] == [[0], [1], [2]]


def test_what_is_measured_of_an_image_does_not_depend_on_its_batch() -> None:
    """Of a head with GroupNorm, which averages over padding too."""
    torch.manual_seed(0)
    model = detector("squeezenet1_1", fcos).eval()
    nn.init.normal_(model.net.head.classification_head.cls_logits.weight, std=0.3)
    images, targets = images_and_targets()
    _, outputs = loss_and_outputs_by_shape(model, images, targets)
    alone = torch.cat([model([image]) for image in images])
    torch.testing.assert_close(outputs, alone.detach(), atol=1e-4, rtol=0)
    padded = model.losses_and_outputs(images, targets)[1]
    assert (padded[..., 4] - alone[..., 4]).abs().max() > 0.01
