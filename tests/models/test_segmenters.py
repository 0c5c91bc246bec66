"""Networks that say a class for each pixel: torchvision's whole ones, and heads over classifiers."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support.slow import mostly_slow, one_in
from torch import Tensor, nn
from torchvision import models

from src.models.preprocessing import Preprocessing
from src.models.segmentation_heads import deeplabv3, fcn, lraspp, pyramid
from src.models.segmenter import NewSegmenter, SegmenterNetwork, answers_at, classes_at, enlarged
from src.models.torchvision_segmenters import own_pixels
from src.models.weights import build_backbone, find_weights, preprocessing_of
from src.models.whole_networks import class_dependent, new_whole, segmenter_names
from src.settings.backbones import SEGMENTERS
from src.settings.errors import ConfigError
from src.training.pixel_losses import PixelCrossEntropy

SMALL = "lraspp_mobilenet_v3_large"
HEADS = {"pyramid": pyramid, "lraspp": lraspp, "deeplabv3": deeplabv3, "fcn": fcn}
CASES = [*((head, "squeezenet1_1") for head in HEADS), ("pyramid", "swin_t"), ("lraspp", "swin_t"), ("fcn", "resnet18")]


def over(new: NewSegmenter) -> SegmenterNetwork:
    preprocessing = Preprocessing(64, 64, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "fit", keeps_shape=True)
    return SegmenterNetwork(new, preprocessing, channels_last=True)


def images() -> list[Tensor]:
    noise = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=noise) for size in ((64, 80), (72, 64))]


def train_one_step(model: SegmenterNetwork, given: Any) -> None:
    """Every parameter has a gradient that is a number, also beside an image that is all void."""
    logits, auxiliary = model.train().training_logits(given)
    masks = torch.zeros(len(given), *logits.shape[-2:], dtype=torch.int64)
    masks[0, 20:40], masks[-1, :, 60:] = 2, 255
    loss = PixelCrossEntropy(dice_share=0.5)(logits, masks)
    if auxiliary is not None:
        loss = loss + PixelCrossEntropy()(auxiliary, masks)
    loss.backward()
    silent = [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]
    assert not silent and torch.isfinite(loss)
    assert all(value.grad.isfinite().all() for value in model.parameters() if value.grad is not None)


def test_list_of_segmenters_is_torchvisions() -> None:
    assert sorted(SEGMENTERS) == sorted(segmenter_names()) and len(SEGMENTERS) == 6


@pytest.mark.parametrize("name", SEGMENTERS)
def test_only_the_predictors_of_a_whole_segmenter_are_new(name: str) -> None:
    with torch.device("meta"):
        new = own_pixels(new_whole(name), name, 64, 5)
        model = over(new)
        logits, auxiliary = model.train().training_logits(torch.zeros(2, 3, 64, 96, dtype=torch.uint8))
    assert logits.shape == (2, 5, 64, 96) and (auxiliary is None) == name.startswith("lraspp")
    assert len(new.head_names) == 2 and all(model.in_head(key.rpartition(".")[0]) for key in class_dependent(name))
    assert len(model.blocks) >= 8 and not any(model.in_head(block) for block in model.blocks)
    assert preprocessing_of(name, None).crop_px == 693


@pytest.mark.parametrize("name", mostly_slow(SEGMENTERS, SMALL))
def test_everything_but_the_predictors_is_loaded(name: str, tmp_path: Path) -> None:
    state = new_whole(name).state_dict()
    torch.save(state, tmp_path / "other.pth")
    net = build_backbone(name, find_weights(name, str(tmp_path / "other.pth")), 64)
    own = own_pixels(net, name, 64, 3).net.state_dict()
    kept = [key for key in own if key not in class_dependent(name)]  # FrozenBatchNorm has no counters
    assert len(kept) > 100 and all(torch.equal(own[key], state[key]) for key in kept)


@pytest.mark.parametrize("name", mostly_slow(SEGMENTERS, SMALL))
def test_a_whole_segmenter_trains_a_step_on_images_of_different_sizes(name: str) -> None:
    train_one_step(over(own_pixels(new_whole(name), name, 64, 3, norms="train")), images())


@pytest.mark.parametrize(("head", "name"), mostly_slow(CASES, *CASES[:2]))
def test_a_head_over_a_classifier_trains_a_step(head: str, name: str) -> None:
    net = build_backbone(name, None, 64)
    model = over(HEADS[head](net, name, 64, 3, norms="train"))
    assert model.head_names == ["backbone.fpn" if head == "pyramid" else "backbone.norms", "classifier"]
    train_one_step(model, images())
    alone = model.eval()(images()[0][None])
    assert alone.shape[:2] == (1, 3) and alone.shape[2] == 64 // (
        4 if head == "pyramid" else 8 if head == "lraspp" else 16
    )


DEEPLABS = [partial(deeplabv3, name="squeezenet1_1"), partial(own_pixels, name="deeplabv3_resnet50")]


@pytest.mark.parametrize("make", one_in(2, DEEPLABS))
def test_deeplab_trains_on_a_single_image(make: Any) -> None:
    name = make.keywords["name"]
    net = build_backbone(name, None, 64)
    train_one_step(over(make(net, image_size_px=64, num_classes=3, norms="train")), images()[:1])


def test_thin_images_are_answered_and_trained_on() -> None:
    model = over(pyramid(build_backbone("squeezenet1_1", None, 64), "squeezenet1_1", 64, 3))
    thin = images()[0][:, :5]
    with torch.inference_mode():
        assert model.eval()(thin[None]).shape == (1, 3, 8, 20)
    assert model.train().training_logits([thin, thin[:, :3]])[0].shape == (2, 3, 5, 80)


def test_frozen_norms_are_constants_in_training() -> None:
    model = over(fcn(models.resnet18(), "resnet18", 64, 3)).train()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.net.backbone.body.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.net.classifier.modules())  # which is new


def test_what_has_no_maps_or_a_head_of_its_own_is_told() -> None:
    with pytest.raises(ConfigError, match="no feature maps at several scales"):
        pyramid(build_backbone("vit_b_16", None, 64), "vit_b_16", 64, 3)
    with pytest.raises(ConfigError, match="leave head= out"):
        pyramid(nn.Identity(), SMALL, 64, 3)
    with pytest.raises(ConfigError, match="is no segmenter"):
        own_pixels(nn.Identity(), "resnet18", 64, 3)


def test_answers_do_not_depend_on_how_many_classes_are_enlarged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(7, 5, 6, generator=torch.Generator().manual_seed(0)) * 3
    whole = (enlarged(logits[None], (23, 31))[0] / 2).softmax(dim=0).max(dim=0)
    for pixels in (2**25, 23 * 31 * 2):
        monkeypatch.setattr("src.models.segmenter.PIXELS_AT_ONCE", pixels)  # a constant: of memory
        classes, confidence = answers_at(logits, (23, 31), temperature=2.0)
        assert torch.equal(classes.long(), whole.indices) and torch.equal(classes_at(logits, (23, 31)), classes)
        torch.testing.assert_close(confidence, whole.values)
