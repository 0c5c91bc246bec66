from pathlib import Path
from typing import Any

import pytest
import torch
from support.slow import mostly_slow
from torch import Tensor, nn
from torchvision import models

from src.models.detector import DetectorNetwork
from src.models.torchvision_detectors import own_head, own_masks, with_eps_in_variances
from src.models.weights import build_backbone, find_weights, preprocessing_of
from src.models.whole_networks import class_dependent, detector_names, new_whole
from src.settings.backbones import DETECTORS, MASK_DETECTORS
from src.settings.errors import ConfigError

SMALL = "ssdlite320_mobilenet_v3_large"
WITHOUT_EPS = "retinanet_resnet50_fpn"


def test_list_of_detectors_is_torchvisions() -> None:
    assert sorted(DETECTORS) == sorted(detector_names()) and len(DETECTORS) == 9


@pytest.mark.parametrize("name", mostly_slow(DETECTORS, SMALL, WITHOUT_EPS, "fasterrcnn_mobilenet_v3_large_320_fpn"))
def test_only_the_predictors_depend_on_the_classes(name: str) -> None:
    with torch.device("meta"):
        new = own_head(new_whole(name), name, 320, 5)
        model = DetectorNetwork(new, preprocessing_of(name, None), channels_last=True, max_detections=10)
    assert new.head_names == list(dict.fromkeys(key.rpartition(".")[0] for key in class_dependent(name)))
    assert len(new.head_names) == (6 if name.startswith("ssd") else 1 if "rcnn" not in name else 2)
    assert len(model.blocks) >= 8 and not any(model.in_head(block) for block in model.blocks)
    assert {layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features for layer in model.affine_layers}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in new.net.modules())


def published(name: str) -> dict[str, Tensor]:
    """A file as torchvision publishes it: 91 classes, no counters; variances so small that eps is felt."""
    torch.manual_seed(1)
    size = 1e-3 if name == SMALL else 1e-5
    state: dict[str, Tensor] = new_whole(name).state_dict()
    for key in [key for key in state if key.endswith("running_var")]:
        state[key] = size * (torch.rand_like(state[key]) + 0.1)
        state[key.replace("running_var", "weight")] = state[key].sqrt()
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


@pytest.mark.parametrize("name", mostly_slow(DETECTORS, SMALL))
def test_everything_but_the_predictors_is_loaded(name: str, tmp_path: Path) -> None:
    state = published(name)
    torch.save(state, tmp_path / "other.pth")
    net = build_backbone(name, find_weights(name, str(tmp_path / "other.pth")), 320)
    own = own_head(net, name, 320, 3).net.state_dict()
    replaced = class_dependent(name)
    assert all(torch.equal(own[key], value) for key, value in state.items() if key not in replaced)
    assert all(own[key].shape != state[key].shape for key in replaced)


def test_a_file_of_any_number_of_classes_is_loaded_and_mistakes_are_told(tmp_path: Path) -> None:
    state = new_whole(SMALL, 8).state_dict()
    torch.save({"model": state}, tmp_path / "w.pth")
    net = build_backbone(SMALL, tmp_path / "w.pth", 320)
    kept = [key for key in state if key not in class_dependent(SMALL)]
    assert all(torch.equal(net.state_dict()[key], state[key]) for key in kept)
    del state[kept[0]]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=rf"does not fit(.|\n)*1 missing: {kept[0]}"):
        build_backbone(SMALL, tmp_path / "w.pth", 320)


def as_torchvision_answers(name: str, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """torchvision's own constructor, given this in the place of the file that it would download."""
    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", lambda *_, **__: state)
    return models.get_model(name, weights="COCO_V1").eval()


@pytest.mark.parametrize("name", mostly_slow([*DETECTORS, *MASK_DETECTORS], SMALL))
def test_weights_compute_what_they_do_in_torchvision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinds of BatchNorm, eps that files do not hold, and layers that depend on whose weights they are."""
    state = published(name)
    theirs: Any = as_torchvision_answers(name, state, monkeypatch)
    head = own_masks if name in MASK_DETECTORS else own_head
    ours: Any = head(build_backbone(name, find_weights(name, "COCO_V1"), 320), name, 320, 90).net.eval()
    images = torch.randn(1, 3, 320, 320)
    with torch.inference_mode():
        expected, given = theirs.backbone(images), ours.backbone(images)
    assert expected.keys() == given.keys()
    for key, value in expected.items():
        assert value.isfinite().all()
        torch.testing.assert_close(given[key], value, rtol=1e-3, atol=1e-3 * value.std().item())


def test_eps_is_kept_without_a_record_of_the_weights() -> None:
    """A file under torchvision's name is torchvision's; under another name it is one with the usual eps."""
    variances = {"bn1.running_var": torch.tensor([1e-6]), "bn1.weight": torch.ones(1)}
    file_name = models.get_model_weights(WITHOUT_EPS)["COCO_V1"].url.rsplit("/", 1)[-1]
    kept = with_eps_in_variances(WITHOUT_EPS, variances, file_name)
    torch.testing.assert_close(kept["bn1.running_var"] + 1e-5, torch.tensor([1e-6]))
    assert torch.equal(kept["bn1.weight"], variances["bn1.weight"])
    assert with_eps_in_variances(WITHOUT_EPS, variances, "mine.pth") == variances
    assert with_eps_in_variances("fcos_resnet50_fpn", variances, file_name) == variances


def test_a_checkpoint_is_rebuilt_without_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    state = published(SMALL)
    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", lambda *_, **__: state)
    trained = own_head(build_backbone(SMALL, find_weights(SMALL, "DEFAULT"), 320), SMALL, 320, 4).net.eval()
    rebuilt = own_head(build_backbone(SMALL, None, 320), SMALL, 320, 4).net.eval()
    rebuilt.load_state_dict(trained.state_dict())
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        for one, other in zip(trained.backbone(images).values(), rebuilt.backbone(images).values(), strict=True):  # type: ignore[operator]
            assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "size_px", "mode"),
    [
        ("fcos_resnet50_fpn", 1067, "fit"),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", 427, "fit"),
        (SMALL, 320, "stretch"),
    ],
)
def test_preprocessing_is_that_of_the_weights(name: str, size_px: int, mode: str) -> None:
    preprocessing = preprocessing_of(name, None)
    assert (preprocessing.crop_px, preprocessing.resize_px, preprocessing.resize_mode) == (size_px, size_px, mode)
    assert preprocessing.mean == ((0.5, 0.5, 0.5) if name == SMALL else (0.485, 0.456, 0.406))


def test_weights_and_heads_that_do_not_fit_are_told() -> None:
    with pytest.raises(ConfigError, match="Allowed: COCO_V1, DEFAULT, null"):
        find_weights(SMALL, "IMAGENET1K_V1")
    with pytest.raises(ConfigError, match="is no classifier, detector or segmenter of torchvision"):
        find_weights("keypointrcnn_resnet50_fpn", None)
    with pytest.raises(ConfigError, match=r"backbone.name='resnet18' is a classifier.*Take head=fcos"):
        own_head(models.resnet18(), "resnet18", 64, 2)
