"""What is kept must change nothing but the time: features of the frozen network, and resized images."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import run_train
from PIL import Image
from support.kept import SMALL, data_of, entries, with_a_broken_image
from support.slow import slow
from support.watching import TRUSTED, Stop, stopped

from src.data.decode import UnreadableImage
from src.settings.errors import ConfigError


@pytest.fixture
def images(colors: Path, tmp_path: Path) -> Path:
    return with_a_broken_image(colors, tmp_path / "images")


def both_ways(tmp_path: Path, images: Path, *settings: str) -> tuple[Any, Any]:
    given = [*SMALL, f"data.root={images}", f"data.cache_dir={tmp_path}/cache", *settings]
    kept = run_train(tmp_path / "kept", *given)
    plain = run_train(tmp_path / "plain", *given, "data.cache=none")
    return kept, plain


def weights_differ(one: Any, other: Any, name: str = "last") -> float:
    a, b = one.checkpoint(name)["state_dict"], other.checkpoint(name)["state_dict"]
    assert a.keys() == b.keys()
    return max(float((a[key].float() - b[key].float()).abs().max()) for key in a)


@pytest.mark.parametrize(
    ("backbone", "head"), [("squeezenet1_1", "linear"), slow("squeezenet1_1", "mlp"), slow("resnet18", "mlp")]
)
def test_features_train_the_same_head(tmp_path: Path, images: Path, backbone: str, head: str) -> None:
    """On feature maps (SqueezeNet's convolutional heads) and on vectors; damaged images are replaced alike."""
    names = [f"backbone={backbone}", f"head={head}", "optimizer=sgd"]
    if backbone == "resnet18":
        torch.manual_seed(0)
        from torchvision.models import resnet18

        torch.save(resnet18().state_dict(), tmp_path / "r.pth")
        names.append(f"backbone.weights={tmp_path}/r.pth")
    kept, plain = both_ways(tmp_path, images, *names, "optimizer.lr=1e-3", "head.dropout=0")
    assert weights_differ(kept, plain) < 1e-4
    for name in ("val/loss", "val/acc", "last/train/loss", "test/loss"):
        assert kept.metrics[name] == pytest.approx(plain.metrics[name], abs=2e-4)
    assert len(entries(tmp_path)) == 2  # train and val
    assert kept.csv("unreadable.csv") == plain.csv("unreadable.csv")
    assert "Kept what the frozen network makes of 43 images" in kept.log and "Kept" not in plain.log


@pytest.mark.slow
def test_features_under_mixed_precision(tmp_path: Path, images: Path) -> None:
    kept, plain = both_ways(tmp_path, images, "trainer.precision=bf16-mixed", "optimizer=sgd", "head=mlp")
    assert kept.metrics["val/loss"] == pytest.approx(plain.metrics["val/loss"], abs=0.02)
    maps = next((tmp_path / "cache").glob("features_*/facts.json")).read_text()
    assert '"torch.bfloat16"' in maps


def test_features_are_computed_once_for_all_heads_and_rates(tmp_path: Path, images: Path) -> None:
    given = [*SMALL, f"data.root={images}", f"data.cache_dir={tmp_path}/cache", "trainer.max_epochs=1", "test=false"]
    run_train(tmp_path / "a", *given)
    before = entries(tmp_path)
    assert len(before) == 2
    assert "Kept" not in run_train(tmp_path / "b", *given, "optimizer.lr=1e-2", "seed=3").log
    assert entries(tmp_path) == before
    image = next(path for path in (images / "red").glob("*.png") if path.name != "broken.png")
    Image.new("RGB", (40, 32), "blue").save(image)
    assert "Kept" in run_train(tmp_path / "c", *given).log and len(entries(tmp_path)) > 2


@pytest.mark.slow  # test_finders.py has such a run, whose rates are found
def test_two_phases_first_on_features_then_on_images(tmp_path: Path, images: Path) -> None:
    phases = ["freeze=head_then_all", "freeze.phases.0.epochs=1", "optimizer=sgd"]
    kept, plain = both_ways(tmp_path, images, *phases)
    assert weights_differ(kept, plain) < 1e-4 and kept.metrics["epochs"] == 2
    assert kept.metrics["val/loss"] == pytest.approx(plain.metrics["val/loss"], abs=1e-3)


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_the_kept_features(tmp_path: Path, images: Path) -> None:
    given = [*SMALL, f"data.root={images}", f"data.cache_dir={tmp_path}/cache", "trainer.max_epochs=3", "test=false"]
    whole = run_train(tmp_path / "whole", *given)
    with stopped(epoch=2, batch=0) as stopping, pytest.raises(Stop):
        run_train(tmp_path / "cut", *given, *stopping)
    resumed = run_train(tmp_path / "cut", f"resume={tmp_path}/cut", TRUSTED)
    assert weights_differ(whole, resumed) == 0


# ----------------------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("split", ["train", "val"])
def test_kept_images_give_the_very_same_pixels(tmp_path: Path, images: Path, split: str) -> None:
    kept, plain = data_of(images, tmp_path, "augment=none"), data_of(images, tmp_path, "data.cache=none")
    rows = kept.table.splits[split]
    one, other = kept.image_dataset(rows, training=False), plain.image_dataset(rows, training=False)
    assert one.prepared is not None and other.prepared is None
    for position in range(len(rows)):
        assert one[position].keys() == other[position].keys()
        if "image" in other[position]:
            assert torch.equal(one[position]["image"], other[position]["image"])
        assert one[position]["unreadable"] == other[position]["unreadable"]


def test_random_crops_of_kept_images(tmp_path: Path, colors: Path) -> None:
    """The images are smaller than what the crops need, so nothing is scaled down and the draws are the same."""
    kept = data_of(colors, tmp_path, "augment=strong", "data.image_size_px=32")
    plain = data_of(colors, tmp_path, "augment=strong", "data.cache=none", "data.image_size_px=32")
    rows = kept.table.splits["train"]
    one, other = kept.image_dataset(rows, training=True), plain.image_dataset(rows, training=True)
    assert all(torch.equal(one[3, i]["image"], other[3, i]["image"]) for i in range(len(rows)))


def test_large_images_are_kept_at_the_size_that_crops_need(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "large" / name).mkdir(parents=True)
        for i in range(6):
            Image.effect_noise((400, 300), 60).save(tmp_path / "large" / name / f"{i}.png")
    data = data_of(tmp_path / "large", tmp_path, "augment=light")  # crops from half of the area on
    dataset = data.image_dataset(data.table.splits["train"], training=True)
    assert dataset.prepared is not None and dataset.prepared(0).size == (61, 46)  # 32 / sqrt(0.5)


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path: Path, images: Path) -> None:
    data = data_of(images, tmp_path)
    rows = data.table.splits["val"]
    data.image_dataset(rows, training=False)
    assert len(entries(tmp_path)) == 1
    data_of(images, tmp_path).image_dataset(rows, training=False)
    assert len(entries(tmp_path)) == 1
    file = data.table.file(int(rows[0]))
    assert file is not None
    os.utime(file, (1, 1))
    data_of(images, tmp_path).image_dataset(rows, training=False)
    assert len(entries(tmp_path)) == 2


@pytest.mark.slow
def test_training_on_kept_images(tmp_path: Path, images: Path) -> None:
    kept, plain = both_ways(
        tmp_path, images, "data.cache=images", "data.num_workers=1", "freeze=none", "trainer.max_epochs=1"
    )
    assert weights_differ(kept, plain) == 0 and len(entries(tmp_path)) == 3
    assert kept.csv("unreadable.csv") == plain.csv("unreadable.csv")


def test_a_full_disk_and_a_folder_that_cannot_be_written(tmp_path: Path, images: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"data\.cache_dir='.*file' cannot be written"):
        data_of(images, tmp_path, f"data.cache_dir={tmp_path}/file").val_dataloader()
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ConfigError, match=r"name another folder, or set data\.cache=none"):
        data_of(images, tmp_path).val_dataloader()
    assert entries(tmp_path) == []


def test_a_kept_image_that_could_not_be_read_says_why(tmp_path: Path, images: Path) -> None:
    data = data_of(images, tmp_path)
    rows = [row for row in range(len(data.table)) if "broken" in data.table.paths[row]]
    import numpy as np

    dataset = data.image_dataset(np.array(rows), training=False)
    assert dataset.prepared is not None
    with pytest.raises(UnreadableImage, match="cannot identify image file"):
        dataset.prepared(0)
