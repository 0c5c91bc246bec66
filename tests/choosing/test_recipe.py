"""recipe=auto: what the look at training images finds, what is taken by it, and what keeps it on going on."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL, Answer, compose
from omegaconf import OmegaConf
from torch import nn

from src.choosing.recipe import chosen
from src.choosing.starts import Starts, compared
from src.settings.check import check_settings
from src.settings.errors import ConfigError

Train = Callable[..., Answer]
TINY = ("recipe=auto", "data=folder", "data.image_size_px=32", "data.batch_size=16", *SMALL)


@pytest.fixture
def train(command: Train, colors: Path, tmp_path: Path) -> Train:
    for color in ("red", "blue"):  # which the pretrained network tells apart without training
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / color).symlink_to(colors / color)
    places = (f"data.root={tmp_path}/images", f"output_dir={tmp_path}/run")
    return lambda *settings: command("train", *TINY, *places, *settings)


def test_a_recipe_is_taken_and_kept(train: Train, tmp_path: Path) -> None:
    first = train("trainer.max_epochs=1", "resume=auto")
    assert first.status == 0, first.err
    assert first.err.count("There is no checkpoint in") == 1
    assert re.search(r"recipe=auto: mixtures of pretrained classes answer [\d.]+% .*\. It takes experiment=", first.err)
    taken = OmegaConf.load(tmp_path / "run" / "config.yaml")
    assert f"It takes {taken.recipe}." in first.err and taken.optimizer._target_ == "torch.optim.SGD"
    assert taken.recipe == "experiment=known_classes augment.crop_px=null" and taken.head.start == "pretrained"
    assert (taken.trainer.max_epochs, taken.data.image_size_px) == (1, 32), "what is typed holds"
    assert "Advice" not in first.err
    again = train("trainer.max_epochs=2", "resume=auto")
    assert again.status == 0 and "answer" not in again.err and "epoch 2/2" in again.err
    assert OmegaConf.load(tmp_path / "run" / "config.yaml").recipe == taken.recipe


def test_two_images_of_a_class_are_too_few_to_look_at(train: Train, colors: Path, tmp_path: Path) -> None:
    for color in ("red", "blue"):
        (tmp_path / "few" / color).mkdir(parents=True)
        for file in sorted((colors / color).iterdir())[:2]:
            shutil.copy(file, tmp_path / "few" / color)
    answer = train(
        f"data.root={tmp_path}/few", f"output_dir={tmp_path}/few_run", "data.test_fraction=0", "data.val_fraction=0.5"
    )
    assert "there are no pretrained classes to ask, or too few images. It takes experiment=full." in answer.err


def test_pretrained_classes_that_know_are_told_from_those_that_do_not() -> None:
    """Three new classes in 40 features: pretrained classes that are these, and such that look at noise alone."""
    generator = np.random.default_rng(0)
    labels_N = np.arange(60) % 3
    noise_NC = torch.from_numpy(generator.normal(size=(60, 40)).astype(np.float32))
    features_NC = noise_NC + 4 * torch.nn.functional.one_hot(torch.from_numpy(labels_N), 40)
    part_N = np.arange(60) // 3 % 5
    source = nn.Linear(40, 6).requires_grad_(False)
    source.weight.copy_(torch.eye(6, 40))
    source.bias.zero_()
    known = compared(source, features_NC, labels_N, part_N)
    assert known.pretrained > 0.95 and known.pretrained_is_enough(many=False)
    assert chosen(known, 60)[0] == ["experiment=known_classes"]
    source.weight.copy_(torch.roll(torch.eye(6, 40), 10, dims=1))
    unknown = compared(source, features_NC, labels_N, part_N)
    assert unknown.pretrained < 0.6 and unknown.trained > 0.95 and 0.02 < unknown.error < 0.1
    assert not unknown.pretrained_is_enough(many=False) and chosen(unknown, 60)[0] == ["experiment=new_classes"]
    assert chosen(unknown, 2640)[0] == ["experiment=new_classes", "trainer.max_epochs=6"]


def test_a_difference_within_its_error_is_none_and_many_images_ask_for_more() -> None:
    assert Starts(0.90, 0.91, 0.02).pretrained_is_enough(many=False)
    assert not Starts(0.90, 0.94, 0.02).pretrained_is_enough(many=False)
    assert not Starts(0.93, 0.90, 0.02).pretrained_is_enough(many=True)
    assert Starts(0.95, 0.90, 0.02).pretrained_is_enough(many=True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["recipe=full"], "recipe='full' is not understood. Allowed: auto. One of your choice is experiment=<name>."),
        (["recipe=auto", "task=segmentation"], "recipe=auto is for one class per image"),
        (["recipe=auto", "backbone.weights=null"], "backbone.weights=null has none"),
        (["recipe=auto", "trainer.devices=2"], "recipe=auto looks with one process: set trainer.devices=1"),
        (["recipe=auto", "head=mlp"], "recipe=auto chooses how the head starts"),
    ],
)
def test_mistakes(settings: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        check_settings(compose("output_dir=x", *settings), {})


def test_what_chooses_a_recipe_too_is_refused(train: Train, command: Train, tmp_path: Path) -> None:
    other = train("experiment=full").err
    assert "recipe=auto chooses a recipe, and experiment=full is one" in other and "Importing torch" not in other
    search = ("-m", "sweep=search", "optimizer.lr=interval(1e-4,1e-2)", f"hydra.sweep.dir={tmp_path}/search")
    assert "recipe=auto is for one run" in command("train", "recipe=auto", *search).err
