"""Weights as other programs write them: taken where they fit, and explained where they cannot be."""

import argparse
import collections
import os
import pathlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Answer, Run
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from src.models.weights import build_backbone, find_weights, pretrained_head
from src.models.weights_file import read_state_dict
from src.settings.errors import ConfigError

NAME = "shufflenet_v2_x0_5"


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return models.get_model(NAME, weights=None).state_dict()


def prefixed(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in weights.items()}


def takes(file: Path, weights: dict[str, Tensor]) -> None:
    net = build_backbone(NAME, find_weights(NAME, str(file)), 32)
    assert torch.equal(net.state_dict()["stage3.0.branch1.2.weight"], weights["stage3.0.branch1.2.weight"])


Wrap = Callable[[dict[str, Tensor]], Any]
WRAPPED: dict[str, Wrap] = {
    "tutorial.pth": lambda w: {"epoch": 3, "model_state_dict": w, "optimizer_state_dict": {}},
    "model_best.pth.tar": lambda w: {"arch": "x", "state_dict": prefixed(w, "module."), "best_acc1": torch.tensor(3.0)},
    "lightning.ckpt": lambda w: {"state_dict": prefixed(w, "net."), "hyper_parameters": {"lr": 1}},
    "compiled.pth": lambda w: prefixed(w, "_orig_mod."),
    "both.ckpt": lambda w: {"state_dict": prefixed(w, "model._orig_mod.")},
    "other.ckpt": lambda w: {"state_dict": prefixed(w, "model.net.") | {"loss.weight": torch.ones(3)}},
    "reference.pth": lambda w: {"model": w, "model_ema": prefixed(w, "module."), "optimizer": {"state": {}}},
    "twice.pt": lambda w: {"model": {"state_dict": w, "epoch": 1}},
    "flat.bin": lambda w: w | {"epoch": 3},
    "weights": lambda w: w,
    "ema.tar": lambda w: {"ema": prefixed(w, "module.")},
    "backbone.pth": lambda w: prefixed(w, "encoder.backbone.") | {"head.weight": torch.ones(3)},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrappers_prefixes_and_names(tmp_path: Path, weights: dict[str, Tensor], name: str) -> None:
    torch.save(WRAPPED[name](weights), tmp_path / name)
    takes(tmp_path / name, weights)


def test_safetensors_by_any_name(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    save_file(prefixed(weights, "model."), tmp_path / "pytorch_model.bin")
    takes(tmp_path / "pytorch_model.bin", weights)


def test_several_networks_are_not_guessed_among(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    both = prefixed(weights, "module.encoder_q.") | prefixed(weights, "module.encoder_k.")
    torch.save({"state_dict": both}, tmp_path / "moco.pth")
    with pytest.raises(ConfigError, match=r"several networks .*module\.encoder_q\., module\.encoder_k\."):
        build_backbone(NAME, tmp_path / "moco.pth", 32)


def test_the_head_behind_a_prefix(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    torch.save(prefixed(weights, "module."), tmp_path / "w.pth")
    head = pretrained_head(NAME, tmp_path / "w.pth", "fc")
    assert torch.equal(head.weight, weights["fc.weight"]) and torch.equal(head.bias, weights["fc.bias"])


def test_plain_data_beside_the_weights(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    """What torchvision's references and others keep: arguments, paths, numbers of numpy."""
    extra = {
        "args": argparse.Namespace(lr=1, output_dir=pathlib.Path("/tmp/x")), "windows": pathlib.PureWindowsPath("C:/x"),
        "best": np.float64(0.9), "step": np.int64(3), "curve": np.arange(3.0), "names": np.array(["ant"]),
        "counts": collections.defaultdict(list), "dtype": torch.float16,
    }  # fmt: skip
    for new in (True, False):
        torch.save({"model": weights, **extra}, tmp_path / "w.pth", _use_new_zipfile_serialization=new)
        takes(tmp_path / "w.pth", weights)


def test_a_run_directory(colors_run: Run) -> None:
    for place in ("", "/checkpoints", "/checkpoints/last.ckpt"):
        text = f"{colors_run.directory}{place}"
        net = build_backbone("squeezenet1_1", find_weights("squeezenet1_1", text), 32)
        state = colors_run.checkpoint("last" if "last" in place else "best")["state_dict"]
        assert torch.equal(net.state_dict()["features.0.weight"], state["model.net.features.0.weight"])
    with pytest.raises(ConfigError, match=r"is a folder without checkpoints/best\.ckpt"):
        find_weights("squeezenet1_1", str(colors_run.directory / "report"))


@pytest.mark.slow
def test_training_from_a_run_with_other_classes(colors_run: Run, colors: Path, tmp_path: Path, command: Any) -> None:
    (tmp_path / "two").mkdir()
    for color in ("red", "blue"):
        (tmp_path / "two" / color).symlink_to(colors / color)
    answer: Answer = command(
        "train", "data=folder", f"data.root={tmp_path}/two", "data.image_size_px=32", "debug=fast_dev_run",
        f"backbone.weights={colors_run.directory}", "trainer=cpu", f"output_dir={tmp_path}/run",
    )  # fmt: skip
    assert answer.status == 0, answer.err


# ---------------------------------------------------------------------------------------------- what cannot be taken


class Runs:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.mark),)


class Settings:
    pass


def refused(file: Path) -> str:
    with pytest.raises(ConfigError) as error:
        read_state_dict(file)
    text = str(error.value)
    assert text.startswith(f"backbone.weights='{file}'") and "\x1b" not in text and "\n" not in text and len(text) < 700
    return text


def test_a_whole_model_is_told_how_to_save_its_weights(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    for content in (net, {"model": net, "epoch": 3}):
        for new in (True, False):
            torch.save(content, tmp_path / "whole.pth", _use_new_zipfile_serialization=new)
            text = refused(tmp_path / "whole.pth")
            assert "whole pickled model (torch.nn.modules." in text and "m.state_dict(), 'weights.pth')" in text


def test_objects_of_other_classes(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    torch.save({"state_dict": weights, "settings": Settings()}, tmp_path / "w.pth")
    text = refused(tmp_path / "w.pth")
    assert "Settings" in text and "torch.save(m['state_dict'], 'weights.pth')" in text


@pytest.mark.parametrize("new", [True, False])
def test_what_runs_something_is_not_run(tmp_path: Path, weights: dict[str, Tensor], new: bool) -> None:
    mark = tmp_path / "ran"
    content = {"state_dict": weights, "x": argparse.Namespace(y=Runs(mark)), "z": np.array([Runs(mark)], dtype=object)}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=new)
    assert "it would call posix.mkdir" in refused(tmp_path / "w.pth") and not mark.exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*torch.jit:FutureWarning")
def test_torchscript(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "script.pt")
    assert "TorchScript" in (text := refused(tmp_path / "script.pt")) and "state_dict" in text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>Sign in", "it is a web page"),
        (b"\n <HTML>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x89HDF\r\n", "HDF5"),
        (b'{"weight_map": {}}', "JSON"),
        (b"hello", "it is no file of torch.save or safetensors"),
        (bytes(range(256)), "it is no file of torch.save or safetensors"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, text: str) -> None:
    for suffix in ("pth", "safetensors"):
        (tmp_path / f"w.{suffix}").write_bytes(content)
        assert text in refused(tmp_path / f"w.{suffix}")


def test_files_cut_short(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    for n, new in enumerate((True, False)):
        torch.save(weights, tmp_path / f"{n}.pth", _use_new_zipfile_serialization=new)
    save_file(weights, tmp_path / "w.safetensors")
    for file in list(tmp_path.iterdir()):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        assert "cut short or damaged" in refused(file)


@pytest.mark.slow  # builds every network
@pytest.mark.parametrize(("name", "prefix"), [("alexnet", ""), ("resnet18", "model."), ("vit_b_32", "")])
def test_weights_of_another_network_are_recognised(tmp_path: Path, name: str, prefix: str) -> None:
    torch.save(prefixed(models.get_model(name, weights=None, num_classes=3).state_dict(), prefix), tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=f"These are weights of {name}: backbone={name}"):
        build_backbone("squeezenet1_1", tmp_path / "w.pth", 32)
