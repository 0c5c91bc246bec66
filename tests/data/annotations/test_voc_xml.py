"""Pascal VOC's xml as tools write it: columns, lists, pixels from 1 or 0, what is left out, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from src.data.annotations.voc_xml import read_voc
from src.settings.errors import ConfigError

BOX = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"


def obj(
    corners: tuple[float, ...] = (2, 3, 10, 12), name: str = "cat", more: str = "", place: str | None = None
) -> str:
    return f"<object><name>{name}</name>{more}{BOX.format(*corners) if place is None else place}</object>"


def put(file: Path, *objects: str, filename: str | None = None, size: str = "40 30") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    width, height = size.split()
    file.write_text(
        f"<annotation><filename>{file.stem + '.jpg' if filename is None else filename}</filename>"
        f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>{''.join(objects)}</annotation>",
        encoding="utf-8",
    )


def image(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"")


def test_columns(tmp_path: Path) -> None:
    put(tmp_path / "Annotations/a.xml", obj(), obj((1.5, 2, 8, 9), "ape", "<difficult>1</difficult>"))
    put(tmp_path / "Annotations/b.xml", size="0 0")
    image(tmp_path / "JPEGImages/a.jpg")
    image(tmp_path / "JPEGImages/c.jpg")
    raw = read_voc(tmp_path, on_error="fail")
    assert raw.images.tolist() == ["JPEGImages/a.jpg", "b.jpg"] and raw.folders == [tmp_path]
    assert raw.sources.tolist() == [f"{tmp_path}/Annotations/{name}.xml" for name in "ab"]
    assert raw.splits.tolist() == ["", ""] and raw.stated_wh.tolist() == [[40, 30], [0, 0]]
    assert raw.class_names == ["ape", "cat"] and raw.class_M.tolist() == [1, 0] and raw.number_M.tolist() == [1, 2]
    assert raw.coordinates.tolist() == [[2, 3, 10, 12], [1.5, 2, 8, 9]] and raw.image_M.tolist() == [0, 0]
    assert (raw.form, raw.relative, raw.first_pixel) == ("xyxy", False, 1) and raw.crowd_M.tolist() == [False, True]
    assert any("1 image has no xml" in note for note in raw.notes)


@pytest.mark.parametrize(
    ("corners", "first"), [((1, 1, 40, 30), 1), ((0, 1, 39, 30), 0), ((0, 0, 0, 0), 1), ((0.0, 5.5, 9, 9), 0)]
)
def test_pixels_count_from_1_unless_there_is_a_0(tmp_path: Path, corners: tuple[float, ...], first: int) -> None:
    put(tmp_path / "Annotations/a.xml", obj(), obj(corners))
    raw = read_voc(tmp_path)
    assert raw.first_pixel == first and any("counted from 0" in note for note in raw.notes) == (first == 0)
    if corners[0] < corners[2]:
        assert raw.coordinates[1].tolist() == list(corners)


def test_equal_corners_have_no_size(tmp_path: Path) -> None:
    put(tmp_path / "Annotations/a.xml", obj(), obj((7, 3, 7, 9)))
    first_xyxy = read_voc(tmp_path).coordinates - [1, 1, 0, 0]  # as first_pixel=1 is applied
    assert first_xyxy.tolist() == [[1, 2, 10, 12], [6, 2, 6, 9]]


@pytest.mark.parametrize(
    ("place", "corners"),
    [
        ("<polygon><x1>2</x1><y1>3</y1><x2>9</x2><y2>4</y2><x3>5</x3><y3>8</y3></polygon>", [2, 3, 9, 8]),
        ("<polygon><pt><x>2</x><y>3</y></pt><pt><x>9</x><y>8</y></pt></polygon>", [2, 3, 9, 8]),
        ("<bndbox/><polygon><x1>2</x1><y1>3</y1><x2>9</x2><y2>8</y2></polygon>", [2, 3, 9, 8]),
        (f"<robndbox><cx>10</cx><cy>20</cy><w>8</w><h>4</h><angle>{np.pi / 2}</angle></robndbox>", [8, 16, 12, 24]),
        (f"<part><name>head</name>{BOX.format(1, 1, 2, 2)}</part>{BOX.format(2, 3, 9, 8)}", [2, 3, 9, 8]),
    ],
)
def test_other_shapes(tmp_path: Path, place: str, corners: list[float]) -> None:
    put(tmp_path / "Annotations/a.xml", obj(place=place))
    np.testing.assert_allclose(read_voc(tmp_path, on_error="fail").coordinates, [corners])


def test_lists(tmp_path: Path) -> None:
    for name in ("a", "b", "c d", "e", "f"):
        put(tmp_path / f"Annotations/{name}.xml", obj())
    lists = {"train": "a\nc d\nx\n", "val": "b 1\na\n", "trainval": "a\nb\n", "test": "e.jpg\n", "cat_train": "f  1\n"}
    for name, content in lists.items():
        file = tmp_path / f"ImageSets/Main/{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    raw = read_voc(tmp_path)
    found = dict(zip(raw.images.tolist(), raw.splits.tolist(), strict=True))
    assert found == {"a.jpg": "train", "c d.jpg": "train", "x": "train", "b.jpg": "val", "e.jpg": "test"}
    notes = " ".join(raw.notes)
    assert "1 image in ImageSets/Main without xml" in notes and "1 xml file is in no list" in notes
    assert "val.txt: 1 image is in another list too" in notes
    for name in ("train", "val"):
        (tmp_path / f"ImageSets/Main/{name}.txt").unlink()
    assert read_voc(tmp_path).splits.tolist() == ["train", "train", "test"]


def test_split_folders_with_xml_beside_images(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):  # Roboflow
        put(tmp_path / split / "a.xml", obj())
        image(tmp_path / split / "a.jpg")
    raw = read_voc(tmp_path)
    assert dict(zip(raw.images.tolist(), raw.splits.tolist(), strict=True)) == {
        "train/a.jpg": "train", "valid/a.jpg": "val", "test/a.jpg": "test"
    }  # fmt: skip


@pytest.mark.parametrize("filename", ["", "a", "old_name.jpg", "other.png", "C:\\img\\old.jpg"])
def test_the_name_of_the_xml_goes_first(tmp_path: Path, filename: str) -> None:
    put(tmp_path / "Annotations/a.xml", obj(), filename=filename)
    image(tmp_path / "JPEGImages/a.png")
    image(tmp_path / "JPEGImages/other.png")
    assert read_voc(tmp_path).images.tolist() == ["JPEGImages/a.png"]


def test_the_filename_counts_where_no_image_is_called_like_the_xml(tmp_path: Path) -> None:
    put(tmp_path / "ann/1.xml", obj(), filename="x/photo.jpg")
    image(tmp_path / "pictures/photo.jpg")
    assert read_voc(tmp_path, Path("ann")).images.tolist() == ["pictures/photo.jpg"]


def test_masks_are_not_taken_for_the_image(tmp_path: Path) -> None:
    put(tmp_path / "Annotations/a.xml", obj())
    for folder in ("Class", "JPEGImages", "SegmentationClass"):
        image(tmp_path / folder / "a.png")
    assert read_voc(tmp_path).images.tolist() == ["JPEGImages/a.png"]


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><annotation><filename>&b;</filename></annotation>'


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "it is empty"),
        (b"<annotation><object>", "no whole xml"),
        (b"<annotation>\xff</annotation>", "no text in the encoding"),
        (b'<?xml version="1.0" encoding="nonsense"?><annotation/>', "no text in the encoding"),
        (b"<html></html>", "<html> and not <annotation>"),
        (BOMB.encode(), "DOCTYPE or entities"),
        (BOMB.encode("utf-16"), "DOCTYPE or entities"),
        (f"<?xml version='1.0' encoding='utf-7'?>{BOMB}".encode("utf-7"), "DOCTYPE|no text|no whole xml"),
        (b"<a>" * 200_000, "no whole xml"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes, text: str) -> None:
    put(tmp_path / "Annotations/a.xml", obj())
    (tmp_path / "Annotations/b.xml").write_bytes(content)
    raw = read_voc(tmp_path)
    assert raw.images.tolist() == ["a.jpg"] and any("1 xml file that cannot be read" in note for note in raw.notes)
    with pytest.raises(ConfigError, match=f"b.xml: .*({text})"):
        read_voc(tmp_path, on_error="fail")


@pytest.mark.parametrize(
    "broken",
    [
        "<object><name>cat</name></object>", "<object>" + BOX.format(1, 2, 3, 4) + "</object>",
        obj(("x", 2, 3, 4)), obj(place="<bndbox><xmin>1</xmin></bndbox>"), obj(place="<polygon/>"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_broken_objects(tmp_path: Path, broken: str) -> None:
    put(tmp_path / "Annotations/a.xml", obj(), broken)
    assert len(read_voc(tmp_path).class_M) == 1
    with pytest.raises(ConfigError, match=r"1 object without a name or a box.*a.xml, object 2"):
        read_voc(tmp_path, on_error="fail")


def test_encodings(tmp_path: Path) -> None:
    put(tmp_path / "Annotations/a.xml", obj(name="Käse"))
    text = (tmp_path / "Annotations/a.xml").read_text(encoding="utf-8")
    for encoding in ("utf-8", "utf-16", "latin-1", "gb18030"):
        declared = f'<?xml version="1.0" encoding="{encoding}"?>\n{text}'
        (tmp_path / "Annotations/a.xml").write_bytes(declared.encode(encoding))
        assert read_voc(tmp_path, on_error="fail").class_names == ["Käse"]


@pytest.mark.parametrize("folder", [None, Path("none")])
def test_no_files(tmp_path: Path, folder: Path | None) -> None:
    with pytest.raises(ConfigError, match="no xml files" if folder is None else "data.annotation_folder='none'"):
        read_voc(tmp_path, folder)
