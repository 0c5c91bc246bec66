"""Where images lie that annotation files name, in the ways in which tools write paths."""

import os
from pathlib import Path

import pytest

from src.data.annotations.image_paths import ImagePlaces
from src.data.table import string_column


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


def found(
    root: Path, *names: str, source: str = "", folders: tuple[str, ...] = (), splits: tuple[str, ...] = ()
) -> tuple[list[str], list[str]]:
    """Paths, and notes."""
    places = ImagePlaces(root, [root / folder for folder in folders])
    sources = string_column([str(root / source) if source else ""] * len(names))
    given = string_column(splits or [""] * len(names))
    return places.find(string_column(names), sources, given).tolist(), places.notes


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("a b.jpg", "path relative to the annotation file's folder"),
        ("./a b.jpg", "annotation file's folder"),
        ("../train/a b.jpg", "annotation file's folder"),
        ("train/a b.jpg", "data.root"),
        ("..\\train\\a b.jpg", "with / for \\"),
        ("a%20b.jpg", "% signs"),
        ("/data/upload/1/12ab34cd-a b.jpg", "mark before the name"),
        ("/data/upload/12ab34cd-a b.jpg", "mark before the name"),
        ("/data/local-files/?d=train/a%20b.jpg", "address of the tool"),
        ("s3://bucket/train/a b.jpg", "address of the tool"),
        ("/home/somebody/data/train/a b.jpg", "by the end of the path"),
        ("C:\\Users\\somebody\\a b.jpg", "by base name alone"),
        ("A B.png", "another ending or other capital letters"),
        ("a b", "another ending"),
    ],
)
def test_names_as_tools_write_them(tmp_path: Path, name: str, rule: str) -> None:
    touch(tmp_path, "train/a b.jpg", "val/c.jpg")
    paths, notes = found(tmp_path, name, source="train/_annotations.coco.json")
    assert paths == ["train/a b.jpg"] and rule in notes[0] and notes[0].startswith("1 image:")


def test_an_absolute_path_below_the_root(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg")
    assert found(tmp_path, str(tmp_path / "images/a.jpg")) == (["images/a.jpg"], ["1 image: path absolute."])


def test_a_base_name_must_be_the_only_one_of_its_kind(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.jpg", "two/a.jpg", "two/b.jpg")
    assert found(tmp_path, "elsewhere/a.jpg", "elsewhere/b.jpg")[0] == ["", "two/b.jpg"]
    assert found(tmp_path, "elsewhere/two/a.jpg")[0] == ["two/a.jpg"]  # unless the path's end tells


def test_an_image_counts_once_in_folders_that_lie_in_each_other(tmp_path: Path) -> None:
    touch(tmp_path, "data/images/a.jpg", "more/deep/b.jpg")
    (tmp_path / "data/linked").symlink_to(tmp_path / "more/deep")
    folders = (".", "images", "../more", "../more/deep", "../more/deep/")
    assert found(tmp_path / "data", "x/a.jpg", "x/b.jpg", folders=folders)[0] == [
        "images/a.jpg", "linked/b.jpg",
    ]  # fmt: skip


def test_one_file_is_not_taken_for_two_images(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.jpg")
    assert found(tmp_path, "train/1.jpg", "val/1.jpg")[0] == ["train/1.jpg", ""]
    assert found(tmp_path, "x/1.jpg", "y/1.jpg")[0] == ["", ""]


def test_the_folder_of_the_split_goes_first(tmp_path: Path) -> None:
    touch(tmp_path, "train2017/1.jpg", "val2017/1.jpg")
    splits = ("val", "train", "")
    paths, _ = found(tmp_path, "1.jpg", "1.jpg", "1.jpg", folders=("train2017", "val2017"), splits=splits)
    assert paths == ["val2017/1.jpg", "train2017/1.jpg", "train2017/1.jpg"]


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "../../{above}/secret.jpg", "{outside}/secret.jpg", "x/../../secret.jpg"]
)
def test_names_do_not_lead_out_of_the_data(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "secret.jpg", "data/a.jpg")
    text = name.format(above=tmp_path.name, outside=tmp_path)
    assert found(tmp_path / "data", text, "a.jpg", source="x.json")[0] == ["", "a.jpg"]


def test_folders_that_the_user_names_may_lie_outside(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/a.jpg", "data/x.json")
    assert found(tmp_path / "data", "a.jpg", folders=("../elsewhere",))[0] == [str(tmp_path / "elsewhere/a.jpg")]


def test_links_to_folders_work_and_circles_end(tmp_path: Path) -> None:
    touch(tmp_path, "store/a.jpg", "store/deep/b.jpg", "data/labels/x.json")
    (tmp_path / "data/images").symlink_to(tmp_path / "store")
    (tmp_path / "store/back").symlink_to(tmp_path / "data")
    (tmp_path / "data/nowhere.jpg").symlink_to(tmp_path / "gone.jpg")
    paths, _ = found(tmp_path / "data", "images/a.jpg", "somewhere/b.jpg", "nowhere.jpg")
    assert paths == ["images/a.jpg", "images/deep/b.jpg", ""]


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a\0.jpg", "x" * 5000 + ".jpg", "images", "%", "?d=", "s3://"])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "images/a.jpg")
    assert found(tmp_path, name, source="a.json")[0] == [""]


def test_a_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{i}.jpg" for i in range(50)]
    touch(tmp_path, *(f"images/{name}" for name in names))
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (listed.append(str(path)), scandir(path))[1])
    assert found(tmp_path, *names, source="a.json", folders=("images",))[0] == [f"images/{name}" for name in names]
    assert len(listed) == 2  # images, and beside the json


def test_a_relative_root_and_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "data/labels/x.json", "data/labels/a.jpg", "data/images/b.jpg")
    monkeypatch.chdir(tmp_path)
    assert found(Path("data"), "a.jpg", "b.jpg", source="labels/x.json", folders=("images",))[0] == [
        "labels/a.jpg", "images/b.jpg",
    ]  # fmt: skip
