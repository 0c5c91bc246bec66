from pathlib import Path

import pytest
import torch
from conftest import Run, Runner
from torch import nn
from torchvision import models

from src.models.classifier import find_head
from src.models.freeze import find_blocks, set_trainable, trained_modules
from src.settings.errors import ConfigError


def trained(net: nn.Module, head: str, train: str) -> list[str]:
    """Top-level names of what gets gradients."""
    set_trainable(net, trained_modules(net, head, train))
    return list(dict.fromkeys(name.split(".")[0] for name, p in net.named_parameters() if p.requires_grad))


def test_what_trains_in_a_resnet() -> None:
    net = models.resnet18()
    assert find_blocks(net, "fc") == ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]
    assert trained(net, "fc", "head") == ["fc"]
    assert trained(net, "fc", "layer4") == ["layer4", "fc"]
    assert trained(net, "fc", "all") == ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
    set_trainable(net, trained_modules(net, "fc", "layer4.1"))
    assert not net.layer4[0].conv1.weight.requires_grad and net.layer4[1].conv1.weight.requires_grad


@pytest.mark.parametrize(("share", "first"), [("0%", "fc"), ("17%", "layer4"), ("50%", "layer2"), ("100%", "conv1")])
def test_a_share_counts_blocks_from_the_output(share: str, first: str) -> None:
    net = models.resnet18()
    expected = {"fc": ["fc"], "layer4": ["layer4", "fc"], "layer2": ["layer2", "layer3", "layer4", "fc"]}
    assert trained(net, "fc", share)[0] == first
    assert first not in expected or trained(net, "fc", share) == expected[first]


def test_unknown_module_lists_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match=r"train='layer5' names no module.*Did you mean 'layer\d'.*head, all.*layer4"):
        trained_modules(models.resnet18(), "fc", "layer5")


def test_frozen_modules_do_nothing_but_infer() -> None:
    net = models.resnet18()
    frozen = set_trainable(net, trained_modules(net, "fc", "layer4"))
    assert "bn1" in frozen and "layer4" not in frozen and "fc" not in frozen


@pytest.mark.parametrize("backbone", ["shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_frozen_parts_are_bit_equal_after_training(
    backbone: str, trained: Runner, colors: Path, tmp_path: Path
) -> None:
    """Parameters and buffers, BatchNorm's statistics among them; what trains has moved, its statistics too."""
    net = models.get_model(backbone)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    torch.save(before, tmp_path / "w.pth")
    run = trained(
        "data=folder", f"data.root={colors}", "data.image_size_px=32", f"backbone={backbone}",
        f"backbone.weights={tmp_path}/w.pth", "freeze.phases=[{train: '30%'}]", "test=false",
    )  # fmt: skip
    after = {key.removeprefix("model.net."): value for key, value in run.checkpoint("last")["state_dict"].items()}
    head = find_head(net)
    moving = set(trained_modules(net, head, "30%"))
    moved = {key for key in before if not key.startswith(head) and not torch.equal(before[key], after[key])}
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
