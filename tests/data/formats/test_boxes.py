"""From what annotations say to a table with splits: what the formats with boxes share."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from src.data.annotations.findings import BOX_KINDS
from src.data.annotations.raw import RawBoxes
from src.data.boxes import Boxes
from src.data.formats.boxes import BoxDataModule
from src.data.table import string_column
from src.models.preprocessing import Preprocessing
from src.settings.errors import ConfigError
from src.settings.nodes import Augmentation

PREPROCESSING = Preprocessing(36, 32, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SETTINGS: dict[str, Any] = {
    "batch_size": 2, "num_workers": 0, "augmentation": Augmentation(), "seed": 0, "preprocessing": PREPROCESSING,
    "targets": "boxes",
}  # fmt: skip
Object = tuple[int, list[float], str]  # of which image, corners, class


class Given(BoxDataModule):
    """Says what it is told to say."""

    def __init__(self, root: Path, objects: list[Object], raw: dict[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(root=str(root), **{**SETTINGS, **settings})
        self.objects, self.changes = objects, raw or {}
        self._reads: list[int] = []

    def read_annotations(self) -> RawBoxes:
        self._reads.append(1)
        names = sorted({name for _, _, name in self.objects})
        images = self.changes.get("images", [f"{i}.png" for i in range(8)])
        count = len(self.objects)
        columns: dict[str, Any] = {
            "images": string_column(images), "sources": string_column(["boxes.json"] * len(images)),
            "splits": string_column([""] * len(images)), "stated_wh": np.zeros((len(images), 2), dtype=np.int32),
            "image_M": np.array([image for image, _, _ in self.objects], dtype=np.int64),
            "coordinates": np.array([box for _, box, _ in self.objects], dtype=np.float64).reshape(-1, 4),
            "class_M": np.array([names.index(name) for _, _, name in self.objects], dtype=np.int64),
            "crowd_M": np.zeros(count, dtype=np.bool_), "number_M": np.arange(count) + 100, "class_names": names,
            "form": "xyxy", "relative": False, "folders": [],
        }  # fmt: skip
        for key, value in self.changes.items():
            columns[key] = string_column(value) if key in ("images", "splits", "groups") else value
        return RawBoxes(**columns)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i in range(8):
        Image.new("RGB", (40, 30), (i, 0, 0)).save(tmp_path / f"{i}.png")
    return tmp_path


def objects(images: int = 8) -> list[Object]:
    """A cat in every image, and a dog in every second one."""
    cats: list[Object] = [(i, [1, 2, 11, 12], "cat") for i in range(images)]
    dogs: list[Object] = [(i, [5, 5, 25, 20], "dog") for i in range(0, images, 2)]
    return sorted(cats + dogs, key=lambda found: found[0])


def boxes_of(data: BoxDataModule) -> Boxes:
    assert isinstance(data.table.targets, Boxes)
    return data.table.targets


def notes_of(data: BoxDataModule) -> str:
    return "\n".join(data.table.notes)


def test_a_table_of_boxes(root: Path) -> None:
    data = Given(root, objects())
    found = boxes_of(data)
    assert data.table.paths.tolist() == [f"{i}.png" for i in range(8)] and data.table.class_names == ["cat", "dog"]
    assert found.values.tolist()[:3] == [[0, 2, 40, 30], [2, 1, 40, 30], [3, 2, 40, 30]]
    assert found.boxes_xyxy.dtype == np.float32 and found.boxes_xyxy[found.of(2)].tolist() == [
        [1, 2, 11, 12], [5, 5, 25, 20],
    ]  # fmt: skip
    assert found.text(0) == "cat 1;dog 1" and set(data.table.splits) == {"train", "val", "test"}
    assert data.table.read(3).getpixel((0, 0)) == (3, 0, 0)


def test_what_is_wrong_is_told_with_file_and_object(root: Path) -> None:
    broken: list[Object] = [
        (7, [5, 5, 5, 9], "cat"), (7, [50, 5, 60, 9], "cat"), (7, [9, 9, 5, 5], "cat"), (7, [30, 5, 60, 9], "dog"),
    ]  # fmt: skip
    data = Given(root, objects() + broken)
    found = boxes_of(data)
    assert found.boxes_xyxy[found.of(7)].tolist() == [[1, 2, 11, 12], [5, 5, 9, 9], [30, 5, 40, 9]]
    assert "1 box has no width or no height (dropped): boxes.json, object 112 (7.png: xyxy 5 5 5 9 in 40 x 30)." in (
        notes_of(data)
    )
    assert [(f.kind, f.image, f.number, BOX_KINDS[f.kind][0]) for f in data.findings or ()] == [
        ("no_size", "7.png", 112, "error"), ("outside", "7.png", 113, "error"), ("swapped", "7.png", 114, "warning"),
        ("beyond", "7.png", 115, "warning"),
    ]  # fmt: skip


def test_fail_stops_for_what_cannot_be_repaired(root: Path) -> None:
    repairable: list[Object] = [(7, [9, 9, 5, 5], "cat")]
    assert len(boxes_of(Given(root, objects() + repairable, on_error="fail")).boxes_xyxy) == 13
    with pytest.raises(ConfigError, match=r"1 box has no width.*\n.*object 112 .*\n.*data.on_error=skip"):
        Given(root, [*objects(), (7, [5, 5, 5, 9], "cat")], on_error="fail").scan()
    with pytest.raises(ConfigError, match=r"1 image named by annotations is not there:\n  boxes.json \(no.png\)"):
        Given(root, objects(), {"images": [*(f"{i}.png" for i in range(7)), "no.png"]}, on_error="fail").scan()


def test_missing_images_go_with_their_boxes(root: Path) -> None:
    data = Given(root, objects(), {"images": ["no.png", *(f"{i}.png" for i in range(1, 8))]})
    assert len(data.table) == 7 and len(boxes_of(data).boxes_xyxy) == 10
    assert boxes_of(data).boxes_xyxy[boxes_of(data).of(0)].tolist() == [[1, 2, 11, 12]]
    assert "1 image named by annotations is not there (left out): boxes.json (no.png)." in notes_of(data)
    with pytest.raises(ConfigError, match=r"none of the 8 images that the annotations name is there, e\.g\. 'x0'"):
        Given(root, objects(), {"images": [f"x{i}" for i in range(8)]}).scan()


def test_unreadable_images_stay_for_whoever_lists_them(root: Path) -> None:
    (root / "6.png").write_bytes(b"broken")
    stated = np.full((8, 2), (40, 30), dtype=np.int32)
    data = Given(root, objects(), {"stated_wh": stated})
    assert len(data.table) == 8 and boxes_of(data).values[6].tolist()[1:] == [2, 40, 30]
    assert "1 image cannot be read" in notes_of(data)
    unstated = Given(root, objects())
    assert boxes_of(unstated).values[6].tolist()[1:] == [0, 1, 1]
    assert unstated.findings.counts() == {"image_unreadable": 1, "no_image_size": 2}


def test_images_without_boxes(root: Path) -> None:
    kept, dropped = (
        Given(root, objects(6)),
        Given(root, objects(6), without_boxes="drop", test_fraction=0, val_fraction=0.3),
    )
    assert len(kept.table) == 8 and "2 images have no boxes: kept" in notes_of(kept)
    assert dropped.table.paths.tolist() == [f"{i}.png" for i in range(6)] and "left out" in notes_of(dropped)
    assert sorted(np.concatenate(list(dropped.table.splits.values())).tolist()) == list(range(6))


def test_an_image_that_is_named_twice_is_one(root: Path) -> None:
    twice = {"images": ["0.png", "1.png", "./0.png", "3.png", "4.png", "5.png", "6.png", "7.png"]}
    data = Given(root, objects(), twice)
    assert len(data.table) == 7 and boxes_of(data).text(0) == "cat 2;dog 2"
    assert boxes_of(data).text(1) == "cat 1" and boxes_of(data).text(2) == "cat 1"
    split = Given(root, objects(), {**twice, "splits": ["train", "train", "val", *["train"] * 5]})
    assert len(split.table) == 8 and "1 image is in more than one split" in notes_of(split)


def test_given_splits_and_groups(root: Path) -> None:
    data = Given(root, objects(), {"splits": ["train"] * 4 + ["val"] * 2 + ["test"] + [""]})
    assert {name: rows.tolist() for name, rows in data.table.splits.items()} == {
        "train": [0, 1, 2, 3], "val": [4, 5], "test": [6],
    }  # fmt: skip
    assert "1 image is in no split" in notes_of(data)
    with pytest.raises(ConfigError, match="images for val, and none for train"):
        Given(root, objects(), {"splits": ["val"] * 8}).scan()
    grouped = Given(root, objects(), {"groups": ["a", "a", "a", "a", "b", "b", "", ""]}, val_fraction=0.3).table
    part_of = {row: name for name, rows in grouped.splits.items() for row in rows.tolist()}
    assert len({part_of[row] for row in range(4)}) == 1 and part_of[4] == part_of[5]


def test_there_must_be_a_box_to_train_on(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"none of the 8 images has a box that can be used\. 1 box has no width"):
        Given(root, [(0, [1, 1, 1, 5], "cat")]).scan()
    with pytest.raises(ConfigError, match="no image to train on has a box"):
        Given(root, [(0, [1, 1, 9, 5], "cat")], {"splits": ["val", *["train"] * 7]}).scan()
    assert len(Given(root, [], known_classes=["cat"]).scan()) == 8


def test_a_trained_model_knows_the_classes_by_name(root: Path) -> None:
    data = Given(root, objects(), known_classes=["bird", "Dog", "cat"])
    assert data.table.class_names == ["bird", "Dog", "cat"] and boxes_of(data).class_ids[:3].tolist() == [2, 1, 2]
    with pytest.raises(ConfigError, match="has classes that the model lacks: dog"):
        Given(root, objects(), known_classes=["cat"]).scan()


def test_boxes_are_kept_until_a_file_changes(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = {"cache": "auto", "cache_dir": str(tmp_path_factory.mktemp("cache"))}
    broken: list[Object] = [*objects(), (7, [5, 5, 5, 9], "dog")]
    first, again = Given(root, broken, **cache), Given(root, broken, **cache)
    assert first.table.fingerprint() == again.table.fingerprint() and not again._reads
    assert list(first.findings) == list(again.findings) and first.table.notes == again.table.notes
    assert Given(root, objects(), **cache).found.paths.size == 8  # another setting of the format
    Image.new("RGB", (80, 60)).save(root / "7.png")
    changed = Given(root, broken, **cache)
    assert boxes_of(changed).size(7) == (80, 60) and changed._reads
    for file in Path(cache["cache_dir"]).rglob("boxes.npz"):
        content = file.read_bytes()
        file.write_bytes(content[:200] + b"damaged" + content[207:])
    anew = Given(root, broken, **cache)
    assert boxes_of(anew).size(7) == (80, 60) and anew._reads
    assert not Given(root, broken, **cache)._reads


def test_images_outside_the_root_are_watched(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = {"cache": "auto", "cache_dir": str(tmp_path_factory.mktemp("cache"))}
    labels = tmp_path_factory.mktemp("labels")
    there: dict[str, Any] = {"folders": [root]}
    assert Given(labels, objects(), there, **cache).table.paths[0] == str(root / "0.png")
    unchanged = Given(labels, objects(), there, **cache)
    assert len(unchanged.table) == 8 and not unchanged._reads
    Image.new("RGB", (80, 60)).save(root / "7.png")
    assert boxes_of(Given(labels, objects(), there, **cache)).size(7) == (80, 60)


def test_data_cache_none_keeps_nothing(root: Path, tmp_path: Path) -> None:
    assert len(Given(root, objects(), cache="none", cache_dir=str(tmp_path / "cache")).table) == 8
    assert not (tmp_path / "cache").exists()
