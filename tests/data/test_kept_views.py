"""Augmented views of each image: how many are kept, by themselves or as asked for, and that a run goes on with them."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from conftest import run_train, typed
from support.kept import SMALL, begun, entries, with_a_broken_image
from support.resumed import assert_same_end
from support.watching import TRUSTED, Stop, stopped

from src.build.data import build_datamodule
from src.data.cache.features import FeatureDataset
from src.data.cache.views import views_worth_keeping
from src.data.samplers import seeded
from src.settings.errors import ConfigError


@pytest.fixture
def images(colors: Path, tmp_path: Path) -> Path:
    return with_a_broken_image(colors, tmp_path / "images")


def test_augmented_views_are_taken_in_turn(tmp_path: Path, images: Path) -> None:
    views = ["augment=light", "data.cache=features", "data.cache_views=2"]
    data, task = begun(tmp_path, images, *views)
    rows = data.table.splits["train"]
    data.begin_phase(task, 1)
    dataset = data.train_dataloader().dataset
    assert isinstance(dataset, FeatureDataset)
    assert dataset.kept.features_VN.shape[:2] == (2, len(rows))
    sampled = [dataset.__getitems__([(epoch, 5)])["features"] for epoch in range(4)]
    assert torch.equal(sampled[0], sampled[2]) and torch.equal(sampled[1], sampled[3])
    assert not torch.equal(sampled[0], sampled[1])
    with seeded(data.seed, 1, int(rows[5])):
        image = data.transform_of(training=True)(data.table.read(int(rows[5])))
    expected = task.model.eval().forward_features(image[None])
    assert torch.allclose(expected, sampled[1], atol=1e-3) and not torch.allclose(expected, sampled[0], atol=0.1)


def test_augmentation_needs_a_number_of_views(images: Path) -> None:
    cfg = typed("data=folder", f"data.root={images}", "data.cache=features")
    with pytest.raises(ConfigError, match=r"set augment=none, or data\.cache_views=8"):
        build_datamodule(cfg)


@pytest.mark.parametrize(
    ("epochs", "settings", "views", "said"),
    [
        (13, [], 12, r"12 augmented views of each .* over 13 epochs\. data\.cache=none gives fresh ones"),
        (12, [], 0, r"anew in each of the 12 epochs; with augment=none it sees each image once\."),
        (13, ["augment.mixup=0.2"], 0, r"anew in each of the 13 epochs; with augment=none it sees each image once\."),
        (1, [], 0, None),
        (99, ["data.cache=none"], 0, None),
        (99, ["data.cache=images"], 0, None),
        (2, ["data.cache_views=3"], 3, None),
        (99, ["augment=none"], 1, None),
        # 43 images of 512 float32, twelve times: 1.06 MB
        (99, ["data.cache_gb=1e-3"], 0, r"12 views of 43 images would take 0\.0 GB, more than .* data\.cache_views=12"),
        (99, ["data.cache_gb=1.1e-3"], 12, r"\(1\.06 MB\)"),
        # 46 images of 13 x 13 x 512 for images of 224 pixels: heads with dropout get the whole maps
        (99, ["data.cache_gb=0.1", "data.image_size_px=224", "head.dropout=0.1"], 0, r"would take 0\.2 GB"),
    ],
)
def test_views_of_augmented_images_are_kept_where_that_saves_time_and_room_is_there(
    tmp_path: Path, images: Path, caplog, epochs: int, settings: list[str], views: int, said: str | None
) -> None:
    data, task = begun(tmp_path, images, "augment=light", *settings)
    data.begin_phase(task, epochs)
    with caplog.at_level("INFO", "src.data.module"):
        kept = data.views_kept(task), data.views_kept(task)
    assert kept == (views, views)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == (said is not None)  # once in a phase
    assert said is None or re.search(said, messages[0]), messages


@pytest.mark.parametrize(("images", "processes", "views"), [(81_000, 1, 12), (82_000, 1, 0), (81_000, 2, 0)], ids=str)
def test_two_gigabytes_are_the_most_and_several_processes_share_fresh_views(
    images: int, processes: int, views: int
) -> None:
    assert views_worth_keeping(25, processes, images, lambda: 2048, 50.0, mixed=False)[0] == views


@pytest.mark.slow
def test_thirteen_epochs_of_a_head_alone_on_kept_views(tmp_path: Path, images: Path) -> None:
    given = [*SMALL[:5], f"data.root={images}", f"data.cache_dir={tmp_path}/cache", "test=false"]
    assert "Keeps" not in run_train(tmp_path / "few", *given, "trainer.max_epochs=2").log and not entries(tmp_path)
    run = run_train(tmp_path / "run", *given, "trainer.max_epochs=13", "data.balanced_sampling=true")
    assert "43 images x 12 views" in run.log and run.log.count("of 12 augmented views") == 1
    assert len(entries(tmp_path)) == 2  # train and val


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ["freeze=head_only"],
        ["freeze=head_only", "data.balanced_sampling=true", "data.folds=3", "data.fold=1"],
        ["freeze=head_then_all", "freeze.phases.0.epochs=13", "trainer.max_epochs=14"],
    ],
)
def test_a_resumed_run_sees_the_same_views(tmp_path: Path, images: Path, settings: list[str]) -> None:
    """Also where less than what makes views worth their while is left of the phase, and the kept ones are lost."""
    given = [*SMALL[:4], f"data.root={images}", f"data.cache_dir={tmp_path}/cache", "test=false"]
    given += ["trainer.max_epochs=13", "checkpoint_every_n_steps=2", *settings]
    whole = run_train(tmp_path / "whole", *given)
    with stopped(epoch=11, batch=2) as stopping, pytest.raises(Stop):
        run_train(tmp_path / "cut", *given, *stopping)
    shutil.rmtree(tmp_path / "cache")
    resumed = run_train(tmp_path / "cut", f"resume={tmp_path}/cut", TRUSTED)
    assert "of 12 augmented views" in resumed.log.rpartition("Resum")[2]
    assert_same_end(resumed, whole)
