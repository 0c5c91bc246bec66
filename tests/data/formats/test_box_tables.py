"""data=csv of a task with boxes: a row for each box."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_boxes import SETTINGS

from src.data.boxes import Boxes
from src.data.formats.csv_table import CsvDataModule
from src.settings.errors import ConfigError

HEADER = "path,x1,y1,x2,y2,label\n"
ROWS = "".join(f"{i}.png,1,2,11,12,cat\n{i}.png,5,5,25.5,20,dog\n" for i in range(6)) + "6.png,,,,,\n7.png,,,,,cat\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i in range(8):
        Image.new("RGB", (40, 30)).save(tmp_path / f"{i}.png")
    return tmp_path


def table(root: Path, content: str, **settings: Any) -> CsvDataModule:
    (root / "boxes.csv").write_text(content, encoding="utf-8")
    return CsvDataModule(file=str(root / "boxes.csv"), **{**SETTINGS, **settings})


def boxes_of(data: CsvDataModule) -> Boxes:
    assert isinstance(data.table.targets, Boxes)
    return data.table.targets


def test_a_row_for_each_box(root: Path) -> None:
    data = table(root, HEADER + ROWS)
    found = boxes_of(data)
    assert len(data.table) == 8 and found.names == ["cat", "dog"]
    assert found.boxes_xyxy[found.of(3)].tolist() == [[1, 2, 11, 12], [5, 5, 25.5, 20]]
    assert found.values[6:, 1].tolist() == [0, 0] and "2 images have no boxes" in "\n".join(data.table.notes)
    data.require_found()


def test_rows_of_an_image_need_not_stand_together(root: Path) -> None:
    rows = "1.png,1,2,11,12,cat\n0.png,1,2,11,12,dog\n1.png,5,5,9,9,cat\n2.png,1,1,9,9,dog\n"
    found = table(root, HEADER + rows, val_fraction=0.34, test_fraction=0).scan()
    assert isinstance(found.targets, Boxes) and len(found.targets.boxes_xyxy) == 4
    texts = {str(found.paths[row]): found.targets.text(row) for row in range(3)}
    assert texts == {"0.png": "dog 1", "1.png": "cat 2", "2.png": "dog 1"}


def test_other_columns_and_splits(root: Path) -> None:
    header = "image;xmin;ymin;xmax;ymax;kind;split;group;width;height\n"
    rows = "".join(f"{i}.png;10;20;110;120;cat;{'train' if i < 6 else 'valid'};g{i};400;300\n" for i in range(8))
    data = table(root, header + rows, path_column="image", label_columns="kind")
    assert {name: len(found) for name, found in data.table.splits.items()} == {"train": 6, "val": 2}
    assert boxes_of(data).boxes_xyxy[0].tolist() == [1, 2, 11, 12]  # the images were larger once
    assert data.table.groups_N is not None and len(np.unique(data.table.groups_N)) == 8
    named = table(root, "path,l,t,r,b,label\n" + ROWS, box_columns=["l", "t", "r", "b"])
    assert len(boxes_of(named).boxes_xyxy) == 12


def test_findings_name_the_line(root: Path) -> None:
    data = table(root, HEADER + ROWS + "7.png,5,5,5,9,cat\n7.png,nan,5,5,9,cat\n")
    assert [(found.kind, found.number) for found in data.findings] == [("no_size", 16), ("not_a_number", 17)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,label\n0.png,cat\n", "has no columns x1, y1, x2, y2"),
        (HEADER, "has no rows"),
        (HEADER + "0.png,1,2,x,4,cat\n", "line 2: x2='x' is no number"),
        (HEADER + "0.png,1,2,,4,cat\n", "line 2: some numbers of the box are missing"),
        (HEADER + "0.png,1,2,3,4,\n", "line 2: no class in the column 'label'"),
        (HEADER.replace("label", "label,split") + "0.png,1,2,9,9,cat,train\n0.png,1,2,9,9,cat,val\n", "the splits"),
        (HEADER + "9.png,1,2,9,9,cat\n", "none of the 1 images"),
    ],
)
def test_mistakes(root: Path, content: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        table(root, content).scan()


def test_four_columns_are_named(root: Path) -> None:
    with pytest.raises(ConfigError, match="names 3 columns"):
        table(root, HEADER + ROWS, box_columns=["x1", "y1", "x2"]).scan()
    with pytest.raises(ConfigError, match="class of a box stands in one"):
        table(root, HEADER + ROWS, label_columns=["label", "path"]).scan()


def test_only_what_the_table_needs_is_watched(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = {"cache": "auto", "cache_dir": str(tmp_path_factory.mktemp("cache"))}
    before = len(boxes_of(table(root, HEADER + ROWS, **cache)).boxes_xyxy)
    (root / "beside").mkdir()
    (root / "beside" / "note.txt").write_text("nothing to do with it")
    with monkeypatch.context() as patch:
        patch.delattr(CsvDataModule, "read_annotations")
        kept = CsvDataModule(file=str(root / "boxes.csv"), **{**SETTINGS, **cache})
        assert before == len(boxes_of(kept).boxes_xyxy) == 12
    assert len(boxes_of(table(root, HEADER + ROWS + "7.png,1,1,9,9,cat\n", **cache)).boxes_xyxy) == 13
