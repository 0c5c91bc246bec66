"""data=torchvision, on tiny sets in the formats that torchvision's own code reads."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import paint, run_train
from PIL import Image
from torchvision import datasets

from src.data.formats.torchvision_sets import SPLIT_VALUES, TorchvisionDataModule
from src.models.preprocessing import Preprocessing
from src.settings.errors import ConfigError
from src.settings.nodes import Augmentation

PREPROCESSING = Preprocessing(36, 32, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def module(name: str, root: Path, **settings: Any) -> TorchvisionDataModule:
    defaults = {"batch_size": 8, "num_workers": 0, "augmentation": Augmentation(), "seed": 0, "download": False}
    return TorchvisionDataModule(name=name, root=str(root), preprocessing=PREPROCESSING, **{**defaults, **settings})


def sizes(data: TorchvisionDataModule) -> dict[str, int]:
    return {split: len(rows) for split, rows in data.table.splits.items()}


def make_dtd(root: Path) -> None:
    folder = root / "dtd" / "dtd"
    names: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for seed, color in enumerate(("red", "blue")):
        paint(folder / "images" / color, color, 12, seed)
        files = sorted((folder / "images" / color).glob("*.*"))
        for split, part in {"train": files[:6], "val": files[6:9], "test": files[9:]}.items():
            names[split] += [f"{color}/{file.name}" for file in part]
    (folder / "labels").mkdir()
    for split, lines in names.items():
        (folder / "labels" / f"{split}1.txt").write_text("\n".join(lines) + "\n")


def make_food101(root: Path) -> None:
    for seed, color in enumerate(("red", "blue")):
        paint(root / "food-101" / "images" / color, color, 12, seed)
        for file in (root / "food-101" / "images" / color).glob("*.png"):
            Image.open(file).save(file.with_suffix(".jpg"))
    (root / "food-101" / "meta").mkdir()
    meta: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    for color in ("red", "blue"):
        stems = sorted({file.stem for file in (root / "food-101" / "images" / color).glob("*.jpg")})
        meta["train"][color] = [f"{color}/{stem}" for stem in stems[:8]]
        meta["test"][color] = [f"{color}/{stem}" for stem in stems[8:]]
    for split, content in meta.items():
        (root / "food-101" / "meta" / f"{split}.json").write_text(json.dumps(content))


def make_pets(root: Path) -> None:
    folder = root / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    lines: dict[str, list[str]] = {"trainval": [], "test": []}
    for number, color in enumerate(("red", "blue"), start=1):
        paint(folder / "images", color, 10, number)
        files = sorted(file for file in (folder / "images").glob("*.*") if "_" not in file.stem)
        for i, file in enumerate(files):
            Image.open(file).convert("RGB").save(folder / "images" / f"{color}_{i}.jpg")
            file.unlink()
            lines["trainval" if i < 8 else "test"].append(f"{color}_{i} {number} 1 1")
    for split, content in lines.items():
        (folder / "annotations" / f"{split}.txt").write_text("\n".join(content) + "\n")


def make_mnist(root: Path) -> None:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for prefix, count in {"train": 40, "t10k": 20}.items():
        pixels = np.random.default_rng(0).integers(0, 255, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        shape = b"".join(size.to_bytes(4, "big") for size in pixels.shape)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(b"\x00\x00\x08\x03" + shape + pixels.tobytes())
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(
            b"\x00\x00\x08\x01" + count.to_bytes(4, "big") + labels.tobytes()
        )


@pytest.mark.parametrize(
    ("name", "make", "expected", "classes"),
    [
        ("DTD", make_dtd, {"train": 12, "val": 6, "test": 6}, ["blue", "red"]),
        ("Food101", make_food101, {"train": 14, "val": 2, "test": 8}, ["blue", "red"]),
        ("OxfordIIITPet", make_pets, {"train": 14, "val": 2, "test": 4}, ["Red", "Blue"]),
        ("MNIST", make_mnist, {"train": 30, "val": 10, "test": 20}, None),
    ],
)
def test_sets_with_their_own_splits(
    tmp_path: Path, name: str, make: Any, expected: dict[str, int], classes: list[str] | None
) -> None:
    make(tmp_path)
    data = module(name, tmp_path, val_fraction=0.25 if name == "MNIST" else 0.15)
    assert sizes(data) == expected
    assert data.table.class_names == classes or (classes is None and data.table.class_names[3] == "3 - three")
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (8, 3, 32, 32) and batch["unreadable"] == []
    if classes is not None:  # the colour tells whether image and label belong together
        for image, label in zip(batch["image"], batch["label"], strict=True):
            is_red = image[0].float().mean() > image[2].float().mean()
            assert data.table.class_names[label].lower() == ("red" if is_red else "blue")
        assert data.table.file(0) is not None and data.table.file(0).is_file()  # type: ignore[union-attr]


def test_names_decide_and_not_their_order(tmp_path: Path) -> None:
    make_dtd(tmp_path)
    own = module("DTD", tmp_path)
    other = module("DTD", tmp_path, known_classes=["red", "green", "blue"])
    assert other.table.class_names == ["red", "green", "blue"]
    np.testing.assert_array_equal(other.table.labels, np.array([2, 0])[own.table.labels])
    unknown = module("DTD", tmp_path, known_classes=["red", "green"])
    with pytest.raises(ConfigError, match=r"data\.name=DTD has classes that the model lacks: blue"):
        unknown.table  # noqa: B018


def test_training_on_one(tmp_path: Path) -> None:
    make_dtd(tmp_path)
    run = run_train(
        tmp_path / "run", "data=torchvision", "data.name=DTD", f"data.root={tmp_path}", "data.image_size_px=32",
        "trainer.max_epochs=1", "data.download=false",
    )  # fmt: skip
    assert "test/acc" in run.metrics and len(run.csv("split.csv")) == 24


def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"data\.name=DTD is not complete in data\.root"):
        module("DTD", tmp_path).table  # noqa: B018
    with pytest.raises(ConfigError, match="Did you mean 'Food101'"):
        module("Food11", tmp_path)

    def no_network(*_: Any, **__: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(datasets.dtd, "download_and_extract_archive", no_network)
    with pytest.raises(ConfigError, match=r"could not be downloaded to .*Name or service not known"):
        module("DTD", tmp_path, download=True).table  # noqa: B018


def test_every_set_that_is_named_exists() -> None:
    assert all(hasattr(datasets, name) for name in SPLIT_VALUES)
