from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import Run, Runner
from support.slow import mostly_slow
from torch import nn
from torchvision import models

from src.models.adapted import AdaptedNetwork
from src.models.classifier import ImageClassifier
from src.models.freeze import set_trainable, trained_modules
from src.models.weights import preprocessing_of
from src.settings.errors import ConfigError
from src.training.phases import ParameterGroups


def classifier(name: str) -> ImageClassifier:
    return ImageClassifier(models.get_model(name), preprocessing_of(name, None), channels_last=False)


def trained(model: AdaptedNetwork, train: str) -> list[str]:
    """Top-level names of what gets gradients."""
    set_trainable(model, trained_modules(model, train))
    return list(dict.fromkeys(name.split(".")[0] for name, p in model.net.named_parameters() if p.requires_grad))


def test_what_trains_in_a_resnet() -> None:
    model = classifier("resnet18")
    assert model.blocks == ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]
    assert trained(model, "head") == ["fc"]
    assert trained(model, "layer4") == ["layer4", "fc"]
    assert trained(model, "all") == ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
    set_trainable(model, trained_modules(model, "layer4.1"))
    assert not model.net.layer4[0].conv1.weight.requires_grad and model.net.layer4[1].conv1.weight.requires_grad


@pytest.mark.parametrize(("share", "first"), [("0%", "fc"), ("17%", "layer4"), ("50%", "layer2"), ("100%", "conv1")])
def test_a_share_counts_blocks_from_the_output(share: str, first: str) -> None:
    model = classifier("resnet18")
    expected = {"fc": ["fc"], "layer4": ["layer4", "fc"], "layer2": ["layer2", "layer3", "layer4", "fc"]}
    assert trained(model, share)[0] == first
    assert first not in expected or trained(model, share) == expected[first]


def test_unknown_module_lists_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match=r"train='layer5' names no module.*Did you mean 'layer\d'.*head, all.*layer4"):
        trained_modules(classifier("resnet18"), "layer5")


def test_frozen_modules_do_nothing_but_infer() -> None:
    model = classifier("resnet18")
    frozen = set_trainable(model, trained_modules(model, "layer4"))
    assert "bn1" in frozen and "layer4" not in frozen and "fc" not in frozen


class Pyramid(AdaptedNetwork):
    """Shaped as a detector is: a pretrained body, and new parts in several places."""

    def __init__(self) -> None:
        parts = {"body": models.resnet18(), "fpn": nn.Conv2d(512, 8, 1), "rpn": nn.Conv2d(8, 8, 1)}
        parts["boxes"] = nn.ModuleDict({"shared": nn.Linear(8, 8), "scores": nn.Linear(8, 3), "sizes": nn.Linear(8, 4)})
        names = ["fpn", "boxes.scores", "boxes.sizes"]
        super().__init__(nn.ModuleDict(parts), names, preprocessing_of("resnet18", None), channels_last=False)


def test_a_head_of_several_modules() -> None:
    """The pretrained parts between them stay frozen, and each is a block of its own."""
    model = Pyramid()
    assert model.blocks[-3:] == ["body.fc", "rpn", "boxes.shared"] and "body.layer4" in model.blocks
    set_trainable(model, trained_modules(model, "head"))
    names = {name.rpartition(".")[0] for name, p in model.net.named_parameters() if p.requires_grad}
    assert names == {"fpn", "boxes.scores", "boxes.sizes"}
    assert trained(model, "10%") == ["fpn", "boxes"] and model.net["boxes"]["shared"].weight.requires_grad
    assert not any(model.in_head(name.removeprefix("net.")) for name in model.body_state_dict())
    optimizer = ParameterGroups(layer_decay=0.5, head_lr_factor=10.0).build(partial(torch.optim.SGD, lr=1.0), model)
    assert sorted(group["lr"] for group in optimizer.param_groups if group["params"][0].ndim > 1) == [0.5, 10.0]


@pytest.mark.parametrize("backbone", mostly_slow(["shufflenet_v2_x0_5", "mobilenet_v3_small"], "mobilenet_v3_small"))
def test_frozen_parts_are_bit_equal_after_training(
    backbone: str, trained: Runner, colors: Path, tmp_path: Path
) -> None:
    """Parameters and buffers, BatchNorm's statistics among them; what trains has moved, its statistics too."""
    model = classifier(backbone)
    before = {key: value.clone() for key, value in model.net.state_dict().items()}
    torch.save(before, tmp_path / "w.pth")
    run = trained(
        "data=folder", f"data.root={colors}", "data.image_size_px=32", f"backbone={backbone}",
        f"backbone.weights={tmp_path}/w.pth", "freeze.phases=[{train: '30%'}]", "freeze.batch_norm=false",
        "test=false",
    )  # fmt: skip
    after = {key.removeprefix("model.net."): value for key, value in run.checkpoint("last")["state_dict"].items()}
    moving = set(trained_modules(model, "30%"))
    moved = {key for key in before if not model.in_head(key) and not torch.equal(before[key], after[key])}
    assert all(key.rpartition(".")[0] in moving for key in moved)
    assert any("running_mean" in key for key in moved) and any("conv" in key or "0.weight" in key for key in moved)
    assert len(moved) < len(before) / 2


def test_phases_of_a_run(colors_run: Run) -> None:
    """head_then_all: the log says what trains, and the backbone stands still in the first phase."""
    log = colors_run.log
    assert "Phase 1 of 2, epochs 1 to 2: trains classifier.1 (1 of 10 blocks)" in log
    assert "Phase 2 of 2, epochs 3 to 4: trains features.0 to classifier.1 (10 of 10 blocks)" in log
    assert "(100.0 %)" in log
    assert colors_run.checkpoint("last")["finetune"]["phase"] == 1
