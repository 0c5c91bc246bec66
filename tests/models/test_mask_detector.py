"""Detectors with masks: they train, they answer, and their masks lie where the pixels are."""

from functools import partial

import numpy as np
import pytest
import torch
from support.detectors import images_and_targets
from support.slow import slow
from torch import Tensor
from torchvision import models
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from src.data.formats.digit_scene import draw_scene, pools
from src.evaluation.pixels.crops import Crop
from src.evaluation.pixels.pasting import FULL, pasted
from src.models.detection_heads import DetectionHeadFactory
from src.models.mask_detector import MASK_PX, MaskDetectorNetwork, box_columns, centred, mask_columns
from src.models.mask_heads import mask_rcnn
from src.models.torchvision_detectors import own_masks
from src.models.weights import build_backbone, preprocessing_of
from src.models.whole_networks import class_dependent, mask_detector_names, new_whole
from src.settings.backbones import MASK_DETECTORS
from src.settings.errors import ConfigError
from src.tasks.detection.network import loss_names

FAMILIES = [
    ("squeezenet1_1", partial(mask_rcnn, mask_convs=1)),
    slow("resnet18", mask_rcnn),
    *(slow(name, partial(own_masks, norms="train")) for name in MASK_DETECTORS),
]


def network(name: str, head: DetectionHeadFactory) -> MaskDetectorNetwork:
    new = head(build_backbone(name, None, 128), name, 128, 3)
    return MaskDetectorNetwork(new, preprocessing_of(name, None), channels_last=False, max_detections=20)


def with_masks() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Every object fills its box."""
    images, targets = images_and_targets()
    for image, target in zip(images, targets, strict=True):
        masks = torch.zeros(len(target["boxes"]), *image.shape[1:], dtype=torch.uint8)
        for mask, (left, top, right, bottom) in zip(masks, target["boxes"].int().tolist(), strict=True):
            mask[top:bottom, left:right] = 1
        target["masks"] = masks
    return images, targets


@pytest.mark.parametrize(("name", "head"), FAMILIES)
def test_every_family_trains_a_step(name: str, head: DetectionHeadFactory) -> None:
    """With ragged, empty and full targets; and once with no object at all, as a process of several may see."""
    torch.manual_seed(0)
    model = network(name, head).train()
    images, targets = with_masks()
    for batch in (targets, [targets[1]] * 3):
        model.zero_grad()
        losses = model.losses(images, batch)
        assert all(loss.isfinite() for loss in losses.values()) and set(losses) == set(loss_names(model.net))
        sum(losses.values(), torch.zeros(())).backward()
        assert not [key for key, parameter in model.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize(("name", "head"), FAMILIES)
def test_validation_gives_losses_boxes_and_masks(name: str, head: DetectionHeadFactory) -> None:
    torch.manual_seed(0)
    model = network(name, head).eval()
    images, targets = with_masks()
    losses, outputs = model.losses_and_outputs(images, targets)
    assert outputs.shape == (3, 20, 6 + MASK_PX**2) and "loss_mask" in losses
    boxes, masks = box_columns(outputs), mask_columns(outputs)
    assert masks.shape == (3, 20, MASK_PX, MASK_PX) and ((masks >= 0) & (masks <= 1)).all()
    there = boxes[..., 5] >= 0
    assert not masks[~there].any() and (not there.any() or masks[there].mean() > 0.1)
    torch.testing.assert_close(model(images), outputs)


@pytest.mark.slow
def test_one_network_learns_masks_by_heart() -> None:
    torch.manual_seed(0)
    model = network("squeezenet1_1", partial(mask_rcnn, mask_convs=1))
    images, targets = with_masks()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    first = last = 0.0
    for step in range(12):
        loss = model.train().losses(images, targets)["loss_mask"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, last = (loss.item() if step == 0 else first), loss.item()
    assert last < first / 2


def test_masks_are_pasted_where_their_pixels_were() -> None:
    """What the network is shown, as if it had learnt it, comes back: torchvision's own pasting would lose a tenth."""
    shares = []
    for number in range(20):
        scene = draw_scene(number, pools(20)[number], 128)
        for m, box in enumerate(torch.from_numpy(scene.boxes_xyxy)):
            true = scene.instances == m + 1
            truth = torch.from_numpy(true)[None].to(torch.uint8)
            shown = project_masks_on_boxes(truth, box[None], torch.tensor([0]), MASK_PX)
            mask = (centred(shown, box[None])[0] * FULL).round().to(torch.uint8).numpy()
            found, crop = pasted(mask, box), Crop.of(true)
            shares.append(found.common(crop) / (found.area + crop.area - found.common(crop)))
    assert np.mean(shares) > 0.99 and min(shares) > 0.95


def test_lists_and_recipe_are_torchvisions() -> None:
    assert mask_detector_names() == MASK_DETECTORS
    expected = ["roi_heads.box_predictor.cls_score", "roi_heads.box_predictor.bbox_pred",
                "roi_heads.mask_predictor.mask_fcn_logits"]  # fmt: skip
    for name in MASK_DETECTORS:
        assert list(dict.fromkeys(key.rpartition(".")[0] for key in class_dependent(name))) == expected
        with torch.device("meta"):
            assert own_masks(new_whole(name), name, 320, 5).head_names == expected


def test_a_network_without_masks_is_told() -> None:
    with pytest.raises(ConfigError, match=r"'resnet18' has no head for masks. Take head=mask_rcnn"):
        own_masks(models.resnet18(), "resnet18", 64, 2)


def test_masks_are_cut_out_of_the_maps_that_boxes_are() -> None:
    heads = network("squeezenet1_1", mask_rcnn).net.roi_heads
    assert heads.mask_roi_pool.scales == heads.box_roi_pool.scales == [1 / 4, 1 / 8, 1 / 16]  # type: ignore[union-attr]
