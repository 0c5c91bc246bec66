"""data=auto: which format lies there."""

import json
from pathlib import Path

import pytest
from PIL import Image
from test_boxes import SETTINGS

from src.data.boxes import Boxes
from src.data.formats.found_boxes import FoundBoxesDataModule, formats_below
from src.settings.errors import ConfigError

NAMES = [f"{i}.png" for i in range(8)]


def images(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        Image.new("RGB", (40, 30)).save(folder / name)


def coco(root: Path) -> None:
    content = {
        "images": [{"id": i, "file_name": name, "width": 40, "height": 30} for i, name in enumerate(NAMES)],
        "annotations": [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 10, 10]} for i in range(8)],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (root / "annotations").mkdir(parents=True)
    (root / "annotations" / "instances.json").write_text(json.dumps(content), encoding="utf-8")


def yolo(root: Path) -> None:
    (root / "labels").mkdir()
    for i in range(8):
        (root / "labels" / f"{i}.txt").write_text("0 0.15 0.2333333 0.25 0.3333333\n")


def voc(root: Path) -> None:
    (root / "Annotations").mkdir()
    for i, name in enumerate(NAMES):
        box = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>11</xmax><ymax>12</ymax></bndbox>"
        text = f"<annotation><filename>{name}</filename><object><name>cat</name>{box}</object></annotation>"
        (root / "Annotations" / f"{i}.xml").write_text(text)


def csv(root: Path) -> None:
    rows = "".join(f"images/{name},1,2,11,12,cat\n" for name in NAMES)
    (root / "boxes.csv").write_text("path,x1,y1,x2,y2,label\n" + rows)


WRITERS = {"coco": coco, "yolo": yolo, "voc": voc, "csv": csv}


@pytest.mark.parametrize("name", WRITERS)
def test_each_format_is_found(tmp_path: Path, name: str) -> None:
    images(tmp_path / "images")
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / "README.txt").write_text("0 1 2 3 4\n")
    WRITERS[name](tmp_path)
    table = FoundBoxesDataModule(root=str(tmp_path), **SETTINGS).table
    assert isinstance(table.targets, Boxes) and len(table) == 8 and len(table.class_names) == 1
    assert table.targets.boxes_xyxy.round(3).tolist() == [[1, 2, 11, 12]] * 8
    assert f"is read as data={name}: it has " in table.notes[0]


def test_nothing_and_more_than_one(tmp_path: Path) -> None:
    images(tmp_path / "images")
    with pytest.raises(ConfigError, match=r"no annotations of boxes were found.*COCO.*YOLO.*Pascal VOC.*csv"):
        FoundBoxesDataModule(root=str(tmp_path), **SETTINGS).scan()
    voc(tmp_path)
    csv(tmp_path)
    with pytest.raises(
        ConfigError, match=r"more than one way. Name one: .*data=voc for .*0.xml.*data=csv for .*boxes.csv"
    ):
        FoundBoxesDataModule(root=str(tmp_path), **SETTINGS).scan()


def test_labels_behind_many_files_that_show_nothing(tmp_path: Path) -> None:
    """Images without objects, whose label files are empty, and notes of somebody; some of them first by name."""
    labels = tmp_path / "labels"
    labels.mkdir()
    for i in range(600):
        (labels / f"a{i:03d}.txt").write_text("" if i % 2 else "taken at dusk")
    for i in range(100):
        (labels / f"b{i:03d}.txt").write_text("0 0.5 0.5 0.2 0.2")
    assert list(formats_below(tmp_path)) == ["yolo"]
    for i in range(30):
        (tmp_path / f"a{i:03d}.xml").write_text("<settings/>")
    (tmp_path / "b.xml").write_text("<annotation></annotation>")
    assert list(formats_below(tmp_path)) == ["yolo", "voc"]
