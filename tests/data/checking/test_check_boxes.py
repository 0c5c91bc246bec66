"""src.check on data with boxes: what it finds, and nothing else; what it writes, what it answers."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Answer
from PIL import Image

Rows = list[dict[str, str]]
Check = Callable[..., tuple[Answer, Rows]]
Lines = dict[str, list[str]]
TRAIN, VAL = 40, 12
CAT, DOG = "0 0.30 0.30 0.20 0.30", "1 0.70 0.60 0.30 0.20"  # class, centre, size; YOLO


@pytest.fixture
def check(command: Callable[..., Answer], tmp_path: Path) -> Check:
    """`check("data=yolo", ...)`: the answer, and the rows of check.csv."""

    def call(*arguments: str) -> tuple[Answer, Rows]:
        output = f"output={tmp_path / 'check'}"
        answer = command("check", "task=detection", output, "data.cache=none", "data.num_workers=0", *arguments)
        file = tmp_path / "check" / "check.csv"
        rows = list(csv.DictReader(file.open(newline="", encoding="utf-8"))) if file.exists() else []
        return answer, rows

    return call


def scene(seed: int, side: int = 96) -> Image.Image:
    """As different from those of other seeds as photographs are."""
    coarse = np.random.default_rng(seed).integers(0, 226, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def write_yolo(root: Path, changed: Lines, names: str = "cat, dog") -> Path:
    """Images `train/0.png` to `val/51.png`, each with a cat and a dog, but for those in `changed`."""
    for i in range(TRAIN + VAL):
        split = "train" if i < TRAIN else "val"
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        scene(i).save(root / "images" / split / f"{i}.png")
        (root / "labels" / split / f"{i}.txt").write_text("\n".join(changed.get(f"{split}/{i}", [CAT, DOG])))
    (root / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: [{names}]\n")
    return root


def found(rows: Rows) -> set[tuple[str, str, str]]:
    return {(row["kind"], row["path"].removeprefix("images/"), row["object"]) for row in rows}


def test_clean_data_may_be_trained_on(check: Check, tmp_path: Path) -> None:
    answer, rows = check("data=yolo", f"data.root={write_yolo(tmp_path / 'data', {})}")
    assert answer.status == 0, answer.err
    assert rows == [] and "Go ahead." in answer.out
    assert re.search(r"^boxes +104$", answer.out, re.M) and re.search(r"^boxes an image +2 to 2", answer.out, re.M)
    assert "0 under 8, 0 under 1 pixels" in answer.out and "shorter sides" in answer.out


def test_every_planted_mistake_is_found_once(check: Check, tmp_path: Path) -> None:
    lines = {
        "train/0": [CAT, DOG, CAT],
        "train/1": [CAT, DOG, CAT.replace("0", "1", 1)],
        "train/2": [CAT, DOG, "0 0.5 0.5 0.001 0.3"],  # 0.64 pixels of 640
        "train/3": [],
        "train/4": [CAT, DOG, "0 0.95 0.5 0.3 0.3"],
        "train/5": [CAT, DOG, "0 1.5 0.5 0.3 0.3"],
        "train/6": [CAT, DOG, "0 0.5 0.5 0 0.3"],
        "train/7": [CAT, DOG, "0 nan 0.5 0.1 0.3"],
        "train/8": [CAT, DOG, "7 0.5 0.5 0.1 0.3"],
    }
    root = write_yolo(tmp_path / "data", lines)
    (root / "images/train/9.png").write_bytes(b"")
    answer, rows = check("data=yolo", f"data.root={root}")
    assert answer.status == 2, answer.err  # nine boxes of 100, and one image of 50
    by_kind = {row["kind"]: row for row in rows}
    assert len(by_kind) == len(rows)
    assert found(rows) == {
        ("same_box", "train/0.png", "3"),
        ("same_box_other_class", "train/1.png", "3"),
        ("too_small", "train/2.png", "3"),
        ("no_boxes", "train/3.png", ""),
        ("beyond", "train/4.png", "3"),
        ("outside", "train/5.png", "3"),
        ("no_size", "train/6.png", "3"),
        ("not_a_number", "train/7.png", "3"),
        ("not_read", "", ""),
        ("empty", "train/9.png", ""),
    }
    assert list(rows[0]) == ["kind", "severity", "path", "other_path", "label", "split", "detail", "file", "object"]
    double = by_kind["same_box_other_class"]
    assert double["severity"] == "warning" and double["split"] == "train" and double["label"] == "cat 1;dog 2"
    assert double["detail"] == "dog, and the same box is cat (IoU 1.00); the other is object 1"
    assert double["file"] == str(root / "labels/train/1.txt")
    assert by_kind["too_small"]["detail"] == "cat, 0.64 x 192 pixels at the network's size of 640"
    assert by_kind["not_read"]["detail"] == "box with a class id that data.yaml does not name, left out"
    for kind in by_kind:  # what reading found is said once, and not in a note too
        assert len(re.findall(rf"\({kind}\)$", answer.out, re.M)) == 1
    for words in ("outside its image", "no width or no height", "no numbers", "box with a class id"):
        assert answer.out.count(words) == 1, words


def test_copies_with_other_boxes_contradict_each_other(check: Check, tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "data", {"train/1": [], "train/3": [CAT, DOG], "train/5": [], "train/7": [DOG]})
    for i in (0, 2, 6):  # the same bytes
        (root / f"images/train/{i + 1}.png").write_bytes((root / f"images/train/{i}.png").read_bytes())
    scene(4).resize((64, 64)).save(root / "images/train/5.png")  # nearly the same
    answer, rows = check("data=yolo", f"data.root={root}")
    assert found(rows) == {
        ("label_conflict", "train/1.png", ""),
        ("duplicate", "train/3.png", ""),
        ("near_label_conflict", "train/5.png", ""),
        ("label_conflict", "train/7.png", ""),
    }  # and no no_boxes: that is the conflict
    assert answer.status == 2 and "decide for one set of boxes" in answer.out


def test_many_images_without_boxes_are_meant(check: Check, tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "data", {f"train/{i}": [] for i in range(12)})
    answer, rows = check("data=yolo", f"data.root={root}")
    assert rows == [] and "12 images have no boxes: kept" in answer.out


@pytest.mark.parametrize(("size_px", "kinds"), [(640, set()), (320, {"small_objects"}), (30, {"too_small"})])
def test_sizes_count_at_the_networks_size(check: Check, tmp_path: Path, size_px: int, kinds: set[str]) -> None:
    """Dogs of 2 % of the width: 12.8, 6.4 and 0.6 pixels."""
    small = {f"train/{i}": [CAT, "1 0.7 0.6 0.02 0.2"] for i in range(20)}
    root = write_yolo(tmp_path / "data", small)
    answer, rows = check("data=yolo", f"data.root={root}", f"data.image_size_px={size_px}")
    assert {row["kind"] for row in rows} - ({"small_objects"} if size_px == 30 else set()) == kinds
    if size_px == 320:
        assert rows[0]["label"] == "dog" and "20 of 40 training boxes (50%)" in rows[0]["detail"]
        assert "at about 416 nine in ten" in rows[0]["detail"]
    assert answer.status == 0


def test_too_many_mistakes_speak_against_training(check: Check, tmp_path: Path) -> None:
    """The limits: 2 % of the boxes, and mistakes in annotations at 2 % of the images."""
    outside = "0 1.5 0.5 0.3 0.3"
    one = write_yolo(tmp_path / "one", {"train/0": [CAT, DOG, outside]})
    answer, _ = check("data=yolo", f"data.root={one}")
    assert answer.status == 0 and "see the warnings" in answer.out
    three = write_yolo(tmp_path / "three", {"train/0": [CAT, DOG, outside, outside, outside]})
    answer, _ = check("data=yolo", f"data.root={three}")
    assert answer.status == 2 and "3 of 107 boxes (2.8%) cannot be used (outside 3); the limit is 2%" in answer.out
    junk = write_yolo(tmp_path / "junk", {"train/0": [CAT, "no numbers"], "train/1": [CAT, "0 1 2"]})
    answer, rows = check("data=yolo", f"data.root={junk}")
    assert answer.status == 2 and "2 places in the annotations of 52 images cannot be understood" in answer.out
    assert {row["kind"] for row in rows} == {"not_read"}


def test_missing_images_are_counted_with_those_that_are_there(check: Check, tmp_path: Path) -> None:
    lines = ["path,x1,y1,x2,y2,label,split"]
    for i in range(30):
        if i != 4:
            scene(i).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,10,10,50,50,cat,{'val' if i > 24 else 'train'}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    answer, rows = check("data=csv", f"data.file={tmp_path}/t.csv")
    assert [(row["kind"], row["path"], row["file"]) for row in rows] == [("missing", "4.png", f"{tmp_path}/t.csv")]
    assert answer.status == 2 and "1 of 30 images (3.3%) cannot be read" in answer.out


def test_the_page_draws_the_boxes_that_a_finding_is_about(check: Check, tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "data", {"train/0": [CAT, DOG, CAT]}, names="'<i>cat', dog")
    check("data=yolo", f"data.root={root}")
    page = (tmp_path / "check" / "check.html").read_text(encoding="utf-8")
    assert "<i>cat" not in page and page.count("&lt;i&gt;cat 2") == 2  # the finding, and the fullest image
    assert "shows &lt;i&gt;cat, dog" in page and "the most boxes, 3" in page and "the smallest box" in page
    assert page.count('class="chart"') == 2 and ">same_box<" in page
    assert set(re.findall(r'(?:src|href)="([a-z]*[:#/])', page)) == {"data:", "#"} and "<script" not in page


def test_boxes_without_files(check: Check) -> None:
    answer, rows = check("data.scenes=40", "data.scene_px=64", "data.image_size_px=64")
    assert answer.status in (0, 2), answer.err
    assert "40 images, 40 readable" in answer.out and all(not row["file"] for row in rows)


def test_names_that_differ_in_capital_letters_are_told_once(check: Check, tmp_path: Path) -> None:
    answer, rows = check("data=yolo", f"data.root={write_yolo(tmp_path / 'data', {}, names='dog, Dog')}")
    assert [(row["kind"], row["label"]) for row in rows] == [("alike_names", "dog")]
    assert "are different classes" not in answer.out


def test_what_was_kept_of_the_reading_tells_the_same(check: Check, tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "data", {"train/0": [CAT, CAT], "train/1": [CAT, "0 1.2 0.5 0.5 0.1", "junk"]})
    cached = ["data=yolo", f"data.root={root}", "data.cache=auto", f"data.cache_dir={tmp_path}/cache"]
    answer, rows = check(*cached)
    assert found(rows) == {("same_box", "train/0.png", "2"), ("beyond", "train/1.png", "2"), ("not_read", "", "")}
    again, rows_again = check(*cached)
    assert "are taken from" in again.err and rows_again == rows and again.out == answer.out
