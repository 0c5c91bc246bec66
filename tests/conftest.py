"""Tiny real data and the real commands. Nothing here imports torch before a test needs it: the process that hands the
tests out to others never does.
"""

import atexit
import csv
import functools
import gc
import importlib
import json
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
from filelock import FileLock
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from PIL import Image
from support.composing import compose_each_once

from src.cli import command as cli
from src.cli.log import quieten_libraries
from src.data.formats.digit_images import DIGITS_FILE
from src.settings.project import CONF_DIR, PROJECT_ROOT
from src.settings.schema import TrainConfig, register, train_config
from src.train import train

COLORS = {"blue": (60, 90, 220), "green": (60, 200, 90), "red": (220, 70, 60)}


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported is no garbage: no collection of garbage looks through its millions of objects."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # else nanobind reports everything that torch imported as leaked


@pytest.fixture(autouse=True, scope="session")
def project() -> None:
    import torch

    torch.set_num_threads(1)  # tiny images: threads would only wait for each other
    register()
    cli.register_resolvers()
    compose_each_once()


@pytest.fixture(autouse=True)
def in_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT_ROOT)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None  # of the command of an earlier test
    quieten_libraries()  # as every command does; other warnings are errors


def compose(*overrides: str, config: str = "train") -> Any:
    """As the commands do; Hydra takes a tenth of a second for what groups give, which is composed once."""
    parsed = OverridesParser.create().parse_overrides([*overrides])
    groups = [one.input_line for one in parsed if (CONF_DIR / one.key_or_group).is_dir()]
    cfg = pickle.loads(composed(config, *groups))
    values = [one for one in parsed if one.input_line not in groups]
    ConfigLoaderImpl._apply_overrides_to_config(values, cfg)
    return cfg


@functools.cache
def composed(config: str, *groups: str) -> bytes:
    """Pickled, since that makes a copy for each test in a third of the time of copy.deepcopy."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return pickle.dumps(hydra.compose(config, overrides=[*groups]))


def typed(*overrides: str) -> TrainConfig:
    """The settings of src.train as what is built gets them."""
    return train_config(compose("output_dir=nowhere", *overrides))


def paint(folder: Path, color: str, count: int, seed: int) -> None:
    """Real handwritten digits, 40 x 32 pixels, in a colour: the colour is the class."""
    digits = np.load(DIGITS_FILE)["images"]
    folder.mkdir(parents=True, exist_ok=True)
    for i in np.random.default_rng(seed).choice(len(digits), count, replace=False):
        gray = np.asarray(Image.fromarray(digits[i] * 15).resize((40, 32)), dtype=np.float32)[..., None] / 240
        pixels = (np.array(COLORS[color]) * (0.3 + 0.7 * gray)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:04d}.{'png' if i % 2 else 'jpg'}")


@pytest.fixture(scope="session")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder per class, 20 images each, easily told apart."""
    root = tmp_path_factory.mktemp("colors")
    for seed, color in enumerate(COLORS):
        paint(root / color, color, count=20, seed=seed)
    return root


@dataclass
class Run:
    directory: Path
    monitored: float | None

    @property
    def metrics(self) -> dict[str, float]:
        return json.loads((self.directory / "metrics.json").read_text())

    @property
    def log(self) -> str:
        return (self.directory / "train.log").read_text()

    def checkpoint(self, name: str = "best") -> dict[str, Any]:
        import torch

        return torch.load(self.directory / "checkpoints" / f"{name}.ckpt", weights_only=True)

    def csv(self, name: str) -> list[dict[str, str]]:
        with (self.directory / name).open(newline="") as file:
            return list(csv.DictReader(file))


Runner = Callable[..., Run]
SMALL = ("trainer=cpu", "trainer.max_epochs=2", "data.num_workers=0", "logger=none", "data.cache=none")


def run_train(directory: Path, *overrides: str) -> Run:
    """src.train on the given settings, in this process."""
    cfg = compose(f"output_dir={directory}", *SMALL, *overrides)
    cli.set_up_log(directory)
    cli.check_settings(cfg, {})
    return Run(directory, train(cfg))


def trained_once(factory: pytest.TempPathFactory, name: str, *overrides: str) -> Run:
    """One run for all test processes, which only look at it: the first to ask trains, the others wait."""
    base = factory.getbasetemp()
    folder = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    run = Run(folder / name / "run", None)
    with FileLock(folder / f"{name}.lock"):
        if not (folder / name / "done").exists():
            run_train(run.directory, *overrides)
            (folder / name / "done").touch()
    return run


@pytest.fixture
def trained(tmp_path: Path) -> Runner:
    return lambda *overrides: run_train(tmp_path / "run", *overrides)


@pytest.fixture(scope="session")
def colors_run(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One finished run on the colours, with TensorBoard, for all tests that only look at it."""
    directory = tmp_path_factory.mktemp("colors_run") / "run"
    return run_train(
        directory, "data=folder", f"data.root={colors}", "data.image_size_px=32", "data.batch_size=16",
        "trainer.max_epochs=4", "optimizer.lr=1e-3", "freeze=head_then_all", "freeze.phases.0.epochs=2",
        "logger=tensorboard", "trainer.log_every_n_steps=1",
    )  # fmt: skip


SCENES = (
    "task=detection", "data.scenes=60", "data.scene_px=64", "data.batch_size=8", "head.strides=[8,16]",
    "head.channels=64", "head.convs=1",
)  # fmt: skip


@pytest.fixture(scope="session")
def scenes_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run on scenes of digits, with TensorBoard; some boxes are found, with low scores, some classes are not."""
    return trained_once(
        tmp_path_factory, "scenes_run", *SCENES, "trainer.max_epochs=6", "augment=none", "logger=tensorboard",
        "+callbacks.figures.every_n_epochs=3",
    )  # fmt: skip


@pytest.fixture(scope="session")
def pixels_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run with a class for each pixel of scenes, with TensorBoard; two or three of eleven classes are found."""
    return trained_once(
        tmp_path_factory, "pixels_run", "task=segmentation", "data.scenes=40", "data.scene_px=72", "data.batch_size=4",
        "augment=none", "trainer.max_epochs=4", "logger=tensorboard", "+callbacks.figures.every_n_epochs=2",
    )  # fmt: skip


OBJECTS = (
    "task=instance_segmentation", "data.scenes=24", "data.scene_px=72", "data.batch_size=4", "head.strides=[8,16]",
    "head.mask_convs=1", "head.proposals=60", "head.samples=32", "head.hidden_features=64",
)  # fmt: skip


@pytest.fixture(scope="session")
def objects_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run with the masks of objects, with TensorBoard; boxes have low scores."""
    return trained_once(
        tmp_path_factory, "objects_run", *OBJECTS, "trainer.max_epochs=8", "augment=none", "logger=tensorboard",
        "+callbacks.figures.every_n_epochs=4",
    )  # fmt: skip


@dataclass
class Answer:
    status: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """A whole command line, as typed, in this process: `command("train", "seed=1")`."""

    def call(name: str, *arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", [f"src.{name}", *arguments])
        main = importlib.import_module(f"src.{name}").main
        capfd.readouterr()
        try:
            main()
            status = 0
        except SystemExit as exit:
            status = int(exit.code or 0)
        captured = capfd.readouterr()
        return Answer(status, captured.out, captured.err)

    return call


Compare = Callable[..., Answer]


@pytest.fixture
def run_compare(command: Callable[..., Answer], tmp_path: Path) -> Compare:
    """With the sides, and settings such as metric="val/loss"."""

    def call(*sides: object, **settings: object) -> Answer:
        typed = [f"{key}={value}" for key, value in settings.items()]
        first, *others = map(str, sides)
        return command("compare", f"runs={first}", *others, f"output={tmp_path}/c.html", *typed)

    return call


def resolved(path: Path) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(path))  # type: ignore[return-value]
