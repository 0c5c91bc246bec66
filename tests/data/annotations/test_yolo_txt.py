"""YOLO's label files as tools write them: folders, data.yaml, lines, what is left out, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from src.data.annotations.yolo_txt import read_yolo
from src.settings.errors import ConfigError

LINE = "0 0.5 0.5 0.2 0.4\n"


def put(root: Path, **files: str | None) -> None:
    """Files by path; an image if there is no content."""
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content or "", encoding="utf-8")


def flat(root: Path, lines: str, yaml: str = "names: [cat, dog]\ntrain: images\n") -> None:
    put(root, **{"images/a.jpg": None, "labels/a.txt": lines, "data.yaml": yaml})


def test_columns(tmp_path: Path) -> None:
    flat(tmp_path, LINE + "\n1 0.1 0.2 0.1 0.1\n")
    put(tmp_path, **{"images/b.jpg": None, "images/c.jpg": None, "labels/c.txt": "", "labels/z.txt": LINE})
    raw = read_yolo(tmp_path)
    assert raw.images.tolist() == ["images/a.jpg", "images/b.jpg", "images/c.jpg"] and raw.folders == [tmp_path]
    assert raw.sources.tolist() == [f"{tmp_path}/labels/a.txt", "", f"{tmp_path}/labels/c.txt"]
    assert raw.splits.tolist() == ["train"] * 3 and not raw.stated_wh.any() and raw.class_names == ["cat", "dog"]
    assert raw.image_M.tolist() == [0, 0] and raw.class_M.tolist() == [0, 1] and raw.number_M.tolist() == [1, 3]
    assert (
        raw.form == "cxcywh"
        and raw.relative
        and raw.coordinates.tolist() == [[0.5, 0.5, 0.2, 0.4], [0.1, 0.2, 0.1, 0.1]]
    )
    notes = " ".join(raw.notes)
    assert "1 image has no label file" in notes and "images/b.jpg" in notes and "1 label file is empty" in notes
    assert "1 label file has no image" in notes and "z.txt" in notes


@pytest.mark.parametrize(
    ("line", "box", "note"),
    [
        ("0,0.5,0.5,0.2,0.4", [0.5, 0.5, 0.2, 0.4], ""),
        ("0\t0.5\t0.5\t0.2\t0.4", [0.5, 0.5, 0.2, 0.4], ""),
        ("0.0 0.5 0.5 0.2 0.4 ", [0.5, 0.5, 0.2, 0.4], ""),
        ("0 0.5 0.5 0.2 0.4 0.97", [0.5, 0.5, 0.2, 0.4], "score and ignored"),
        ("0 0.25 0.25 0.75 0.25 0.5 0.5", [0.5, 0.375, 0.5, 0.25], "1 object is a polygon"),
        ("0 0 0 1 0 1 1 0 1", [0.5, 0.5, 1, 1], "1 object is a polygon"),
        ("0 0 0 1 0 1 1 0 1 0.9", [0.5, 0.5, 1, 1], "score and ignored"),
        ("0 nan 0.5 0.2 0.4", [np.nan, 0.5, 0.2, 0.4], ""),
    ],
)
def test_lines(tmp_path: Path, line: str, box: list[float], note: str) -> None:
    flat(tmp_path, line)
    raw = read_yolo(tmp_path, on_error="fail")
    np.testing.assert_allclose(raw.coordinates, [box])
    assert any(note in one for one in raw.notes) if note else not raw.notes


def test_keypoints_are_not_taken_for_polygons(tmp_path: Path) -> None:
    flat(tmp_path, "0 0.5 0.5 0.2 0.4 0.1 0.1 2 0.9 0.9 2\n", "names: [cat]\ntrain: images\nkpt_shape: [2, 3]\n")
    assert read_yolo(tmp_path).coordinates.tolist() == [[0.5, 0.5, 0.2, 0.4]]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("2 0.5 0.5 0.2 0.4", "1 box with a class id that data.yaml does not name.*a.txt, line 2: class 2"),
        ("-1 0.5 0.5 0.2 0.4", "class -1"),
        ("0.5 0.5 0.5 0.2 0.4", "class 0.5"),
        ("inf 0.5 0.5 0.2 0.4", "class inf"),
        ("nan 0.5 0.5 0.2 0.4", "class nan"),
        (f"{'9' * 400} 0.5 0.5 0.2 0.4", "class inf"),
        ("dog 0.5 0.5 0.2 0.4", "a.txt, line 2: 'dog 0.5 0.5"),
        ("0 0.5 0.5 0.2", "no class id with a box"),
        ("0", "no class id with a box"),
    ],
)
def test_mistakes_are_counted_or_refused(tmp_path: Path, line: str, text: str) -> None:
    flat(tmp_path, LINE + line)
    raw = read_yolo(tmp_path)
    assert len(raw.class_M) == 1 and len(raw.notes) == 1
    with pytest.raises(ConfigError, match=text):
        read_yolo(tmp_path, on_error="fail")


def test_labels_that_are_no_text(tmp_path: Path) -> None:
    flat(tmp_path, LINE)
    put(tmp_path, **{"images/b.jpg": None})
    (tmp_path / "labels/b.txt").write_bytes(b"\xff\xd8\xff\xe0")
    assert len(read_yolo(tmp_path).class_M) == 1
    with pytest.raises(ConfigError, match=r"no text in UTF-8.*b.txt"):
        read_yolo(tmp_path, on_error="fail")


@pytest.mark.parametrize(
    ("yaml", "splits"),
    [
        ("path: .\ntrain: images/train\nval: images/val\n", {"train", "val"}),
        ("train: ../images/train\nval: ../images/val\n", {"train", "val"}),  # Roboflow
        ("path: /datasets/pets\ntrain: images/train\nval: images/val\n", {"train", "val"}),
        ("train: /home/me/pets/images/train\nval: C:\\pets\\images\\val\n", {"train", "val"}),
        ("train: [images/train, images/val]\n", {"train"}),
        ("train: train.txt\nval: images/val\ntest:\n", {"train", "val"}),
        ("train: images/train\nval: images/none\n", {"train"}),
        ("train: images/train\nval: images/train\n", {"train"}),  # coco128.yaml of Ultralytics
        ("nc: 2\n", {"train", "val"}),
    ],
)
def test_data_yaml(tmp_path: Path, yaml: str, splits: set[str]) -> None:
    put(tmp_path, **{f"{kind}/{split}/{split}.{end}": text for split in ("train", "val")
                     for kind, end, text in (("images", "png", None), ("labels", "txt", LINE))})  # fmt: skip
    put(tmp_path, **{"data.yaml": yaml + "names: {0: cat, 3: dog}\n", "train.txt": "./images/train/train.png\n"})
    raw = read_yolo(tmp_path)
    assert set(raw.splits.tolist()) == splits and raw.class_names == ["cat", "dog"]
    assert raw.images.tolist()[0] == "images/train/train.png" and len(raw.class_M) == len(raw.images)


@pytest.mark.parametrize(
    "layout",
    [
        "images/{split}/{name}.jpg labels/{split}/{name}.txt",
        "{split}/images/{name}.jpg {split}/labels/{name}.txt",
        "{split}/{name}.jpg {split}/{name}.txt",
        "obj_{split}_data/{name}.jpg obj_{split}_data/{name}.txt",  # CVAT's YOLO 1.1
        "{split}2017/{name}.jpg labels/{split}2017/{name}.txt",
        "{split}/{name}.jpg {split}/labels/{name}.txt",
    ],
)
def test_folders_without_a_yaml(tmp_path: Path, layout: str) -> None:
    image, label = layout.split()
    for split in ("train", "valid"):
        names = {"split": split, "name": split[0]}
        put(tmp_path, **{image.format(**names): None, label.format(**names): LINE})
    put(tmp_path, **{"classes.txt": "cat\ndog\n"})
    raw = read_yolo(tmp_path)
    assert (
        sorted(raw.splits.tolist()) == ["train", "val"] and raw.class_names == ["cat", "dog"] and len(raw.class_M) == 2
    )


def test_flat_folders_are_to_be_cut_and_numbers_are_names(tmp_path: Path) -> None:
    put(tmp_path, **{"a.jpg": None, "a.txt": "3 0.5 0.5 0.2 0.4\n11 0.5 0.5 0.2 0.4", "b.jpg": None, "b.txt": ""})
    raw = read_yolo(tmp_path)
    assert raw.splits.tolist() == ["", ""] and raw.class_names == ["3", "11"] and raw.class_M.tolist() == [0, 1]


def test_images_behind_a_link_have_the_labels_beside_the_link(tmp_path: Path) -> None:
    put(tmp_path, **{"photos/images/a.jpg": None, "set/labels/train/a.txt": LINE, "photos/labels/a.txt": "junk"})
    (tmp_path / "set/images").mkdir()
    (tmp_path / "set/images/train").symlink_to(tmp_path / "photos/images")
    raw = read_yolo(tmp_path / "set")
    assert raw.sources.tolist() == [f"{tmp_path}/set/labels/train/a.txt"] and raw.splits.tolist() == ["train"]


def test_a_root_called_images_does_not_confuse(tmp_path: Path) -> None:
    root = tmp_path / "images" / "set"
    put(root, **{"images/a.jpg": None, "labels/a.txt": LINE})
    assert read_yolo(root).sources.tolist() == [f"{root}/labels/a.txt"]


def test_a_split_that_is_a_link_to_another_is_none(tmp_path: Path) -> None:
    put(tmp_path, **{"images/train/a.jpg": None, "labels/train/a.txt": LINE, "labels/val/a.txt": LINE})
    put(tmp_path, **{"data.yaml": "names: [cat]\ntrain: images/train\nval: images/val\n"})
    (tmp_path / "images/val").symlink_to(tmp_path / "images/train")
    raw = read_yolo(tmp_path)
    assert raw.splits.tolist() == ["train"] and any("val is the folder of train" in note for note in raw.notes)


def test_images_in_a_list_and_a_folder_count_once(tmp_path: Path) -> None:
    put(tmp_path, **{"images/a.jpg": None, "labels/a.txt": LINE, "val.txt": "images/a.jpg\n"})
    put(tmp_path, **{"data.yaml": "names: [cat]\ntrain: images\nval: val.txt\n"})
    raw = read_yolo(tmp_path)
    assert raw.splits.tolist() == ["train"] and any("1 image of val in another split" in n for n in raw.notes)


@pytest.mark.parametrize(
    ("yaml", "text"),
    [
        ("names: [cat\ntrain: images", "data.yaml' cannot be read"),
        ("- a\n", "data.yaml' cannot be read"),
        ("names: 5\ntrain: images\n", "names: is neither a list"),
        ("names: [[a], [b]]\ntrain: images\n", "names: is neither a list"),
        ("names: {cat: 0}\ntrain: images\n", "names: is neither a list"),
        ("names: [a]\ntrain: 5\n", "train: is neither a folder"),
        ("names: [a]\ntrain: " + "x" * 5000, "names folders that are not there"),
        ("names: [a]\ntrain: none/here\n", "names folders that are not there: train: none/here"),
        ("names: {999999999999: a}\ntrain: images\n", "ids of YOLO's classes"),
        ("a: &a [x, x]\nnames: [*a, *a]\ntrain: images\n", "anchors and aliases"),
    ],
)
def test_a_yaml_that_cannot_be_used_is_refused(tmp_path: Path, yaml: str, text: str) -> None:
    flat(tmp_path, LINE, yaml)
    with pytest.raises(ConfigError, match=text):
        read_yolo(tmp_path, on_error="skip")


def test_data_without_any_box_are_refused(tmp_path: Path) -> None:
    flat(tmp_path, "")
    with pytest.raises(ConfigError, match="none of the 1 images has a box"):
        read_yolo(tmp_path)
    with pytest.raises(ConfigError, match="there are no images"):
        read_yolo(tmp_path / "labels")
