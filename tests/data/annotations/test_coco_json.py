"""COCO json as tools write it: columns, splits, what is left out, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.data.annotations.coco_json import read_coco
from src.data.annotations.rle import box_of_segmentation
from src.settings.errors import ConfigError

IMAGES = [{"id": 7, "file_name": "a.jpg", "width": 40, "height": 30}, {"id": 9, "file_name": "b.jpg"}]
CATEGORIES = [{"id": 0, "name": "things"}, {"id": 18, "name": "dog"}, {"id": 90, "name": "brush"}]


def box(image: Any = 7, category: Any = 18, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": [1, 2, 3, 4], **more}


def write(file: Path, annotations: list[Any], **more: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": IMAGES, "annotations": annotations, "categories": CATEGORIES} | more
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def test_columns(tmp_path: Path) -> None:
    write(tmp_path / "x.json", [box(9, 90, id=4, iscrowd=1), box(7, 18, id=5), box(7, 90)])
    raw = read_coco(tmp_path)
    assert raw.images.tolist() == ["a.jpg", "b.jpg"] and raw.sources.tolist() == [str(tmp_path / "x.json")] * 2
    assert raw.class_names == ["things", "dog", "brush"] and raw.splits.tolist() == ["", ""]
    assert raw.stated_wh.tolist() == [[40, 30], [0, 0]]
    assert (
        raw.image_M.tolist() == [0, 0, 1] and raw.class_M.tolist() == [1, 2, 2] and raw.number_M.tolist() == [5, 2, 4]
    )
    assert raw.coordinates.tolist() == [[1, 2, 3, 4]] * 3 and raw.form == "xywh" and not raw.relative
    assert raw.crowd_M.tolist() == [False, False, True] and raw.coordinates.dtype == np.float64


def test_ids_may_be_texts_and_numbers_texts(tmp_path: Path) -> None:
    write(tmp_path / "x.json", [box("7", "18", bbox=["1.5", "2", 3.0, "4"]), box(7.0, 18), box("k", 18)],
          images=[*IMAGES, {"id": "k", "file_name": "k.jpg", "width": "12", "height": 9.0}])  # fmt: skip
    raw = read_coco(tmp_path, on_error="fail")
    assert raw.coordinates[0].tolist() == [1.5, 2, 3, 4] and raw.image_M.tolist() == [0, 0, 2]
    assert raw.stated_wh[2].tolist() == [12, 9]


@pytest.mark.parametrize(
    ("segmentation", "expected"),
    [
        ([[1, 2, 5, 2, 5, 9.5], [0, 4, 1, 4, 1, 5]], (0, 2, 5, 7.5)),
        ([["1", "2", "5", "2", "5", "9"]], (1, 2, 4, 7)),
        ([1, 2, 5, 2, 5, 9], (1, 2, 4, 7)),
        ({"size": [4, 5], "counts": [5, 2, 2, 2, 9]}, (1, 1, 2, 2)),  # 2 x 2 pixels from column 1, row 1
        ({"size": [4, 5], "counts": [6, 3, 11]}, (1, 0, 2, 4)),  # from the end of a column into the next
        ({"size": [4, 5], "counts": "52207"}, (1, 1, 2, 2)),
        ({"size": [4, 5], "counts": [20]}, None),
        ({"size": [4, 5], "counts": [5, 200]}, None),
        ({"size": [4, 5], "counts": "5o"}, None),
        ({"size": [4, 5], "counts": [-5, 9]}, None),
        ([], None),
        ("x", None),
        ([["x", 1]], None),
    ],
)  # fmt: skip
def test_box_around_a_segmentation(segmentation: Any, expected: Any) -> None:
    assert box_of_segmentation(segmentation) == expected


@pytest.mark.parametrize("missing", [None, [], [0, 0, 0, 0]])
def test_the_hull_stands_in_for_a_missing_box(tmp_path: Path, missing: Any) -> None:
    write(tmp_path / "x.json", [box(bbox=missing, segmentation=[[1, 2, 5, 2, 5, 9]]), box(segmentation=[[0, 0, 9, 9]])])
    assert read_coco(tmp_path, on_error="fail").coordinates.tolist() == [[1, 2, 4, 7], [1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["train/_annotations.coco.json", "valid/_annotations.coco.json", "test/_annotations.coco.json"],
         ["train", "val", "test"]),
        (["annotations/instances_train2017.json", "annotations/instances_val2017.json"], ["train", "val"]),
        (["annotations/instances_default.json"], [""]),
        (["result.json"], [""]),
        (["train.json", "val.json"], ["train", "val"]),
        (["train/labels.json", "validation/labels.json"], ["train", "val"]),
    ],
)  # fmt: skip
def test_files_of_splits(tmp_path: Path, files: list[str], splits: list[str]) -> None:
    for file in files:
        write(tmp_path / file, [box()])
    write(tmp_path / "annotations/captions_val2017.json", [{"id": 1, "image_id": 7, "caption": "a dog"}])
    raw = read_coco(tmp_path)
    found = dict(zip(raw.sources.tolist(), raw.splits.tolist(), strict=True))
    assert found == {str(tmp_path / file): split for file, split in zip(files, splits, strict=True)}
    assert any("not read: annotations/captions_val2017.json" in note for note in raw.notes)
    assert raw.class_names == ["things", "dog", "brush"]


def test_a_named_file_is_to_be_cut(tmp_path: Path) -> None:
    write(tmp_path / "train.json", [box()])
    write(tmp_path / "val.json", [box()])
    assert read_coco(tmp_path, Path("train.json")).splits.tolist() == ["", ""]


def test_unclear_files_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "old.json", [box()])
    write(tmp_path / "new.json", [box()])
    with pytest.raises(ConfigError, match=r"several json files.*new.json, old.json.*data.file"):
        read_coco(tmp_path)


def test_folders_of_images(tmp_path: Path) -> None:
    write(tmp_path / "annotations/instances_train2017.json", [box()])
    (tmp_path / "images/train2017").mkdir(parents=True)
    assert read_coco(tmp_path).folders[0] == tmp_path / "images/train2017"
    assert read_coco(tmp_path, image_folder=Path("images")).folders == [tmp_path / "images"]
    with pytest.raises(ConfigError, match=r"data\.image_folder='none'"):
        read_coco(tmp_path, image_folder=Path("none"))


@pytest.mark.parametrize(
    ("annotations", "more", "text"),
    [
        ([box(5, id=3)], {}, "1 annotation of images that the file does not list.*annotation 3, image_id 5"),
        ([box(category="cat", id=3)], {}, "categories that the file does not list.*annotation 3, category_id cat"),
        ([box(None)], {}, "image_id none"),
        ([box(bbox=[1, 2, 3])], {}, "without a bbox of four numbers"),
        ([box(bbox=["a", 2, 3, 4])], {}, "without a bbox of four numbers"),
        ([box(bbox=[10**400, 2, 3, 4])], {}, "without a bbox of four numbers"),
        (["x", 5], {}, "2 annotations without image_id"),
        ([], {"images": [*IMAGES, {"id": 7, "file_name": "c.jpg"}]}, "the id of another image, left out.*c.jpg"),
        ([], {"images": [*IMAGES, {"id": 12, "file_name": "a.jpg"}]}, "listed again, taken as one"),
        ([], {"images": [*IMAGES, {"id": 12}, {"file_name": ""}]}, "image without file_name"),
        ([], {"categories": [*CATEGORIES, {"id": 18, "name": "cat"}, "x"]}, "category with the id of another"),
    ],
)  # fmt: skip
def test_mistakes_are_counted_or_refused(tmp_path: Path, annotations: list[Any], more: Any, text: str) -> None:
    write(tmp_path / "x.json", [box(), *annotations], **more)
    raw = read_coco(tmp_path)
    assert len(raw.class_M) == 1 and raw.images.tolist() == ["a.jpg", "b.jpg"]
    with pytest.raises(ConfigError, match=text):
        read_coco(tmp_path, on_error="fail")
    assert any(note[0].isdigit() for note in raw.notes)


def test_an_image_that_is_listed_twice_has_all_its_boxes(tmp_path: Path) -> None:
    write(tmp_path / "x.json", [box(7), box(12)], images=[*IMAGES, {"id": 12, "file_name": "a.jpg"}])
    assert read_coco(tmp_path).image_M.tolist() == [0, 0]


def test_two_categories_of_one_name_are_one_class(tmp_path: Path) -> None:
    write(tmp_path / "x.json", [box(7, 18), box(7, 3)], categories=[*CATEGORIES, {"id": 3, "name": " dog "}])
    raw = read_coco(tmp_path)
    assert raw.class_M.tolist() == [1, 1] and "both called 'dog'" in raw.notes[0]


RLE = {"size": [4, 5], "counts": [5, 2, 2, 2, 9]}


@pytest.mark.parametrize(
    ("annotations", "crowds", "text"),
    [
        (
            [box(iscrowd=1, segmentation=RLE, attributes={"occluded": False}), box(), box()],
            0,
            "CVAT writes each mask so",
        ),
        ([box(iscrowd=1, segmentation=RLE), box(iscrowd=1, segmentation=RLE), box()], 0, "most of the file's"),
        ([box(iscrowd=1, segmentation=RLE), box(), box()], 1, "1 annotation is a crowd"),
        ([box(iscrowd="1"), box(), box(iscrowd=None)], 1, "1 annotation is a crowd"),
    ],
)
def test_crowds(tmp_path: Path, annotations: list[Any], crowds: int, text: str) -> None:
    write(tmp_path / "x.json", annotations)
    raw = read_coco(tmp_path)
    assert raw.crowd_M.sum() == crowds and text in raw.notes[0]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty"),
        (b'{"images": [', "is no valid JSON"),
        (b'{"images": ["\xff"], "annotations": []', "is no text in UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'[{"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}]', "a list, as results"),
        (b"5", "not a mapping"),
        (b'{"images": [], "categories": []}', "without a list of annotations, as COCO's own test sets"),
        (b'{"images": [], "annotations": {}, "categories": []}', "without a list of annotations"),
        (b'{"annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": []}]}', "panoptic"),
        (b'{"images": [], "annotations": [{"image_id": 1, "caption": "x"}], "categories": []}', "captions"),
        (b'{"images": [], "annotations": [], "categories": []}', "has no box"),
        (b'{"images": [{"id": ' + b"9" * 5000 + b"}]}", "is no valid JSON"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)  # fmt: skip
def test_files_that_are_none_are_refused_in_one_message(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ConfigError, match=text) as refused:
        read_coco(tmp_path, Path("x.json"))
    assert "x.json" in str(refused.value)


def test_byte_order_marks(tmp_path: Path) -> None:
    content = write(tmp_path / "x.json", [box()]).read_text(encoding="utf-8")
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "x.json").write_text(content, encoding=encoding)
        assert len(read_coco(tmp_path).class_M) == 1


def test_compressed_masks_have_the_boxes_that_cocos_own_code_gives() -> None:
    mask = pytest.importorskip("faster_coco_eval.core.mask")
    generator = np.random.default_rng(0)
    for side in (7, 90, 400):
        pixels = np.zeros((side, side + 3), dtype=np.uint8, order="F")
        left, top, width, height = generator.integers(1, side // 2, 4).tolist()
        pixels[top : top + height, left : left + width] = generator.random((height, width)) > 0.4
        pixels[top, left] = 1
        encoded = mask.encode(pixels)
        counts = encoded["counts"].decode() if isinstance(encoded["counts"], bytes) else encoded["counts"]
        found = box_of_segmentation({"size": list(pixels.shape), "counts": counts})
        rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
        assert found == (columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1)
