"""src.check on images with masks: what it finds, and nothing else; what it writes, what it answers."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Answer
from PIL import Image
from support.mask_folders import Mask, mask_of, write_pair

Rows = list[dict[str, str]]
Check = Callable[..., tuple[Answer, Rows]]
TRAIN, VAL = 40, 12
SIZE_WH = (96, 72)


@pytest.fixture
def check(command: Callable[..., Answer], tmp_path: Path) -> Check:
    """`check(root, ...)`: the answer, and the rows of check.csv."""

    def call(root: Path, *arguments: str) -> tuple[Answer, Rows]:
        given = ("task=segmentation", "data=masks", f"data.root={root}", "data.cache=none", "data.num_workers=0")
        answer = command("check", f"output={tmp_path / 'check'}", *given, *arguments)
        file = tmp_path / "check" / "check.csv"
        rows = list(csv.DictReader(file.open(newline="", encoding="utf-8"))) if file.exists() else []
        return answer, rows

    return call


def write_set(root: Path, changed: dict[str, Mask] | None = None, table: str = "ground: 0\nroad: 1\ncar: 2\n") -> Path:
    """`images/train/0.png` to `images/val/51.png`, all different, with three classes."""
    for number in range(TRAIN + VAL):
        path = f"{'train' if number < TRAIN else 'val'}/{number}.png"
        mask_HW = (changed or {}).get(path, mask_of(number, SIZE_WH))
        write_pair(root / "images" / path, root / "masks" / path, mask_HW)
        coarse = np.random.default_rng(number).integers(0, 226, (7, 7, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(SIZE_WH, Image.Resampling.BICUBIC).save(root / "images" / path)
    (root / "classes.yaml").write_text(table)
    return root


def found(rows: Rows) -> set[tuple[str, str]]:
    return {(row["kind"], row["path"] or row["label"]) for row in rows}


def test_clean_data_may_be_trained_on(check: Check, tmp_path: Path) -> None:
    root = write_set(tmp_path / "data")
    answer, rows = check(root)
    assert answer.status == 0, answer.err
    assert rows == [] and "Go ahead." in answer.out
    assert "pixels         359,424, void 0.0 %" in answer.out and "of each class  ground 8" in answer.out
    assert "Values of the masks: 0 (ground) 8" in answer.out
    page = (tmp_path / "check/check.html").read_text(encoding="utf-8")
    assert "<h2>Pixels</h2>" in page and "of all pixels" in page and page.count("<figure>") == 12
    assert "</i>road" in page and "shows road" not in page.replace("shows ground, road, car", "")


def test_everything_that_is_wrong_with_masks(check: Check, tmp_path: Path) -> None:
    one = np.zeros(SIZE_WH[::-1], dtype=np.uint8)
    one[:2, :2] = 77
    void = np.full(SIZE_WH[::-1], 255, dtype=np.uint8)
    mostly = void.copy()
    mostly[:20] = 1
    root = write_set(tmp_path / "data", {"train/3.png": one, "train/4.png": void, "train/5.png": mostly})
    (root / "masks/train/0.png").write_bytes(b"")
    (root / "masks/train/1.png").unlink()
    Image.fromarray(mask_of(2, SIZE_WH)).save(root / "masks/train/2.png", format="JPEG")
    Image.fromarray(mask_of(6)).save(root / "masks/train/6.png")
    Image.fromarray(mask_of(0)).save(root / "masks/train/nobodys.png")
    (root / "images/train/7.png").write_bytes(b"")
    answer, rows = check(root)
    assert found(rows) == {
        ("mask_unreadable", "images/train/0.png"), ("mask_missing", "images/train/1.png"),
        ("mask_lossy", "images/train/2.png"), ("value_without_name", "images/train/3.png"),
        ("mask_void", "images/train/4.png"), ("mostly_void", "images/train/5.png"),
        ("mask_size", "images/train/6.png"), ("mask_without_image", "masks/train/nobodys.png"),
        ("empty", "images/train/7.png"),
    }  # fmt: skip
    of = {row["kind"]: row for row in rows}
    assert of["value_without_name"]["detail"].startswith("77: 0.0012 % of all pixels, in 1 mask")
    assert of["mask_lossy"]["file"] == "masks/train/2.png" and of["mask_lossy"]["severity"] == "error"
    assert answer.status == 2 and "3 of 50 masks cannot be used (mask_unreadable 1" in answer.out


def test_values_without_a_name_on_many_pixels(check: Check, tmp_path: Path) -> None:
    root = write_set(tmp_path / "data", table="ground: 0\nroad: 1\n")
    answer, rows = check(root)
    assert answer.status == 2 and {"value_without_name", "many_without_name"} <= {row["kind"] for row in rows}
    assert "Values without a name are on more than 2% of all pixels: name them" in answer.out
    answer, rows = check(root, "data.ignore_values=[2]")
    assert answer.status == 0 and not {row["kind"] for row in rows} - {"imbalance"}


def test_leaks_and_conflicts(check: Check, tmp_path: Path) -> None:
    root = write_set(tmp_path / "data")
    for name in ("40", "41"):
        copy = (root / "images/train/0.png").read_bytes()
        (root / f"images/val/{name}.png").write_bytes(copy)
    (root / "masks/val/40.png").write_bytes((root / "masks/train/0.png").read_bytes())
    answer, rows = check(root)
    kinds = [(row["kind"], row["path"], row["other_path"]) for row in rows]
    assert ("leak", "images/val/40.png", "images/train/0.png") in kinds
    assert ("label_conflict", "images/val/41.png", "images/train/0.png") in kinds
    assert ("label_conflict", "images/val/40.png", "images/train/0.png") not in kinds
    assert answer.status == 2 and "decide for one mask" in answer.out


def test_rare_classes(check: Check, tmp_path: Path) -> None:
    tiny = {}
    for number in range(TRAIN + VAL):
        mask_HW = mask_of(number, SIZE_WH, classes=2)
        mask_HW[5, 5] = 2
        tiny[f"{'train' if number < TRAIN else 'val'}/{number}.png"] = mask_HW
    answer, rows = check(write_set(tmp_path / "data", tiny))
    assert found(rows) == {("few_pixels", "car")} and answer.status == 0
    assert rows[0]["detail"].startswith("0.014 % of the training pixels")


def test_a_mistake_is_one_message(check: Check, tmp_path: Path) -> None:
    root = write_set(tmp_path / "data")
    for file in (root / "masks").rglob("*.png"):
        Image.open(file).save(file, format="JPEG")
    answer, _ = check(root)
    assert answer.status == 1 and "no mask can be used. 52 masks are saved in a format that smears values" in answer.err
    assert "Traceback" not in answer.err
