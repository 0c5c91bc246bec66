"""src.check as a command: what it finds, what it writes, what it answers."""

import csv
import io
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Answer
from PIL import Image, ImageEnhance

from src.data.checking.duplicates import fingerprint, near_pairs

Rows = list[dict[str, str]]


@pytest.fixture
def check(command: Callable[..., Answer], tmp_path: Path) -> Callable[..., tuple[Answer, Rows]]:
    """`check("data=folder", ...)`: the answer, and the rows of check.csv."""

    def call(*arguments: str) -> tuple[Answer, Rows]:
        answer = command("check", f"output={tmp_path / 'check'}", *arguments)
        file = tmp_path / "check" / "check.csv"
        rows = list(csv.DictReader(file.open(newline="", encoding="utf-8"))) if file.exists() else []
        return answer, rows

    return call


def scene(seed: int, side: int = 96) -> Image.Image:
    """An image of soft blobs, as different from those of other seeds as photographs are."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 226, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side * 3 // 4), Image.Resampling.BICUBIC)


def make_scenes(root: Path, per_class: int = 15) -> Path:
    """root/train and root/val, classes a and b, every image there once."""
    seed = 0
    for split, count in (("train", per_class), ("val", per_class // 3)):
        for name in ("a", "b"):
            (root / split / name).mkdir(parents=True)
            for _ in range(count):
                scene(seed).save(root / split / name / f"{seed:03d}.png")
                seed += 1
    return root


def kinds(rows: Rows) -> Counter[str]:
    return Counter(row["kind"] for row in rows)


def test_clean_data_may_be_trained_on(check: Callable[..., tuple[Answer, Rows]], tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "data")
    answer, rows = check("data=folder", f"data.root={root}")
    assert answer.status == 0, answer.err
    assert rows == []
    assert "40 images, 40 readable" in answer.out
    assert re.search(r"^a\s+15\s+5\s+20$", answer.out, re.M)
    assert "Go ahead." in answer.out


def test_every_planted_problem_is_found(check: Callable[..., tuple[Answer, Rows]], tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "data")
    train, val = root / "train", root / "val"
    shutil.copy(train / "a" / "000.png", val / "a" / "leak.png")
    scene(1).resize((70, 53)).save(val / "a" / "near.jpg", quality=70)
    shutil.copy(train / "a" / "002.png", train / "b" / "conflict.png")
    ImageEnhance.Brightness(scene(3)).enhance(1.1).save(train / "b" / "nearly.png")
    shutil.copy(train / "a" / "004.png", train / "a" / "twice.png")
    scene(5).save(train / "a" / "recompressed.jpg", quality=60)
    (train / "a" / "empty.jpg").touch()
    (train / "a" / "cut.png").write_bytes((train / "a" / "006.png").read_bytes()[:900])
    (train / "b" / "pointer.jpg").write_text("version https://git-lfs.github.com/spec/v1\n")
    scene(100, 20).save(train / "b" / "tiny.png")
    scene(101).save(train / "b" / "renamed.jpg", format="PNG")
    answer, rows = check("data=folder", f"data.root={root}")

    found = {(row["kind"], row["path"]): row for row in rows}
    assert set(found) == {
        ("leak", "val/a/leak.png"),
        ("near_leak", "val/a/near.jpg"),
        ("label_conflict", "train/b/conflict.png"),
        ("near_label_conflict", "train/b/nearly.png"),
        ("duplicate", "train/a/twice.png"),
        ("near_duplicate", "train/a/recompressed.jpg"),
        ("empty", "train/a/empty.jpg"),
        ("unreadable", "train/a/cut.png"),
        ("unreadable", "train/b/pointer.jpg"),
        ("tiny", "train/b/tiny.png"),
        ("wrong_extension", "train/b/renamed.jpg"),
    }
    assert len(rows) == len(found)
    conflict = found["label_conflict", "train/b/conflict.png"]
    assert (conflict["other_path"], conflict["label"], conflict["split"]) == ("train/a/002.png", "b", "train")
    assert conflict["severity"] == "error" and "label a" in conflict["detail"]
    assert "git lfs pull" in found["unreadable", "train/b/pointer.jpg"]["detail"]
    assert found["tiny", "train/b/tiny.png"]["detail"] == "20 x 15 pixels"
    assert answer.status == 2
    advice = answer.out.partition("Training is not advisable:")[2]
    assert "3 of 51 images (5.9%) cannot be read" in advice
    assert "2 of 12 val images (16.7%) are in another split too" in advice
    assert "1 of 51 images (2.0%) are there under another label too" in advice


def test_a_few_problems_are_warnings_only(check: Callable[..., tuple[Answer, Rows]], tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "data", per_class=30)
    shutil.copy(root / "train" / "a" / "004.png", root / "train" / "a" / "twice.png")
    (root / "train" / "a" / "empty.png").touch()  # 1 of 82 is below 2 %
    answer, rows = check("data=folder", f"data.root={root}", "data.num_workers=0")
    assert kinds(rows) == {"empty": 1, "duplicate": 1}
    assert answer.status == 0
    assert "Go ahead, but see the warnings." in answer.out


def test_classes_are_judged_by_their_readable_images(check: Callable[..., tuple[Answer, Rows]], tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "data")
    for name, seeds in {"c": (), "d": (200,)}.items():
        (root / "train" / name).mkdir()
        (root / "train" / name / "damaged.png").write_text("no image")
        for seed in seeds:
            scene(seed).save(root / "train" / name / f"{seed}.png")
    answer, rows = check("data=folder", f"data.root={root}")
    of_classes = {(row["kind"], row["label"]) for row in rows if not row["path"]}
    assert {("class_without_training", "c"), ("few_images", "d"), ("class_not_measured", "d")} <= of_classes
    assert answer.status == 2
    assert "No readable training image of c:" in answer.out


def test_random_splits_and_a_table_with_missing_files(
    check: Callable[..., tuple[Answer, Rows]], tmp_path: Path
) -> None:
    lines = ["path,label"]
    for i in range(24):  # the same image twice, and cut at random: some pairs are torn apart
        for copy in range(2):
            scene(i).save(tmp_path / f"{i}_{copy}.png", compress_level=1 + 8 * copy)
            lines.append(f"{i}_{copy}.png,{'ab'[i % 2]}")
    lines += ["gone.png,a", "gone_too.png,b"]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(lines))
    answer, rows = check("data=csv", f"data.file={table}", "data.val_fraction=0.3")
    assert answer.status == 2 and "column group" in answer.out
    found = kinds(rows)
    assert found["missing"] == 2 and found["near_leak"] + found["near_duplicate"] == 24 and found["near_leak"] > 3
    assert all(row["split"] in ("val", "test") for row in rows if row["kind"] == "near_leak")

    answer, rows = check("data=csv", f"data.file={table}", "near_duplicate_bits=null")
    assert kinds(rows)["near_leak"] == 0 and kinds(rows)["near_duplicate"] == 0


@pytest.mark.parametrize(
    ("task", "labels", "shown", "conflicts"),
    [("multilabel", ["x;y", "x", "y;x"], r"^y\s+\d", 1), ("regression", ["1.5", "2", "1.5"], r"1\.5 to 9", 1)],
)
def test_labels_are_read_as_the_task_does(
    check: Callable[..., tuple[Answer, Rows]], tmp_path: Path, task: str, labels: list[str], shown: str, conflicts: int
) -> None:
    lines = ["path,label,split"]
    for i, label in enumerate(labels):  # one image, three times
        scene(0).save(tmp_path / f"same{i}.png")
        lines.append(f"same{i}.png,{label},train")
    for i in range(1, 4):
        scene(i).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{'y' if task == 'multilabel' else 9},{'val' if i == 1 else 'train'}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    answer, rows = check(f"task={task}", f"data.file={tmp_path / 'table.csv'}")
    assert kinds(rows)["label_conflict"] == conflicts and kinds(rows)["duplicate"] == 1, answer.err
    assert re.search(shown, answer.out, re.M)
    assert answer.status == 2


def test_a_missing_file_says_where_it_was_looked_for(check: Callable[..., tuple[Answer, Rows]], tmp_path: Path) -> None:
    lines = ["path,label"]
    for i in range(20):
        scene(i).save(tmp_path / f"{i}.png")
        lines.append(f"{i}{'.png' if i else ''},{'ab'[i % 2]}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    answer, rows = check("data=csv", f"data.file={tmp_path}/t.csv")
    detail = next(row["detail"] for row in rows if row["kind"] == "missing")
    assert f"there is no {tmp_path}/0." in detail and f"There is {tmp_path}/0.png" in detail
    assert "1 of 20 images is missing" in answer.err


def test_names_of_splits_among_the_classes_are_an_error(
    check: Callable[..., tuple[Answer, Rows]], tmp_path: Path
) -> None:
    lines = ["path,label"]
    for i in range(30):
        scene(i).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{('train', 'valid', 'bus', 'Bus')[i % 4]}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    answer, rows = check("data=csv", f"data.file={tmp_path}/t.csv")
    assert {row["label"] for row in rows if row["kind"] == "wrong_level"} == {"train", "valid"}
    assert [row["detail"] for row in rows if row["kind"] == "alike_names"] == ["beside bus"]
    assert answer.status == 2 and "The classes have names of splits: train, valid" in answer.out


def test_subfolders_that_every_class_has_are_a_warning(
    check: Callable[..., tuple[Answer, Rows]], tmp_path: Path
) -> None:
    for i in range(36):
        folder = tmp_path / "data" / "xyz"[i % 3] / "ab"[i // 3 % 2]
        folder.mkdir(parents=True, exist_ok=True)
        scene(i).save(folder / f"{i}.png")
    answer, rows = check("data=folder", f"data.root={tmp_path}/data")
    assert [row["detail"] for row in rows if row["kind"] == "same_subfolders"] == ["a, b: are these the classes?"]
    assert "see the warnings" in answer.out and "taken for one class each: x (a, b)" in answer.out


def test_names_that_the_terminal_cannot_print_or_would_obey(
    check: Callable[..., tuple[Answer, Rows]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_scenes(tmp_path / "data")
    for split in ("train", "val"):
        (root / split / "a").rename(root / split / "kä\x1b[31m\nGo ahead.")
        (root / split / "b").rename(root / split / "=1+1")
    (root / "train" / "=1+1" / "broken.png").touch()
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="ascii"))  # as with PYTHONIOENCODING=ascii
    answer, rows = check("data=folder", f"data.root={root}")
    sys.stdout.flush()
    assert answer.status == 2, answer.err
    out = printed.getvalue()
    assert b"k\\xe4\\x1b[31m\\nGo ahead." in out and b"\x1b" not in out and b"\nGo ahead" not in out
    assert [row["label"] for row in rows] == ["'=1+1"] and rows[0]["path"] == "train/=1+1/broken.png"
    answer, rows = check("data=folder", f"data.root={root}", "spreadsheet_safe=false")
    assert [row["label"] for row in rows] == ["=1+1"]


def test_images_without_files(check: Callable[..., tuple[Answer, Rows]]) -> None:
    answer, rows = check("data=digits", "tiny_px=9")
    assert answer.status == 0
    assert "1,797 readable" in answer.out
    assert kinds(rows) == {"tiny": 1797}  # no two are equal


def test_the_page_is_safe_small_and_complete(check: Callable[..., tuple[Answer, Rows]], tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "data")
    evil = root / "train" / "<img src=x onerror=alert(1)>"
    evil.mkdir()
    for i in range(30):
        scene(300 + i, 24).save(evil / f'"&{i}.png')
    check("data=folder", f"data.root={root}")
    page = (tmp_path / "check" / "check.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page and "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "&quot;&amp;0.png" in page
    assert page.count("<img ") == 24 and "6 more are in check.csv" in page
    assert set(re.findall(r'(?:src|href)="([a-z]*[:#/])', page)) == {"data:", "#"}
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    assert 'name="viewport"' in page and "prefers-color-scheme: dark" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data.root=/nowhere"], "data.root='/nowhere' does not exist"),
        (["data.rot=/nowhere"], "Did you mean 'data.root'?"),
        ([], "data.root is not set: give data.root=<value>."),
        (["data=digits", "tiny_px=-1"], "tiny_px=-1 is out of range"),
        (["data=digits", "near_duplicate_bits=64"], "near_duplicate_bits=64 is out of range"),
        (["data=digits", "output=/dev/null"], "output='/dev/null': /dev/null is no folder"),
        (["data=digits", "+data.colour=red"], "data.colour is no argument"),
        (
            ["task=multilabel", "data=digits"],
            "data=digits is for task.targets=classes, and this task has task.targets=tags",
        ),
    ],
)
def test_mistakes_are_one_message(
    check: Callable[..., tuple[Answer, Rows]], tmp_path: Path, arguments: list[str], message: str
) -> None:
    answer, _ = check(*arguments)
    assert not (tmp_path / "check").exists()
    assert answer.status == 1
    assert message in answer.err and "Traceback" not in answer.err


def test_flat_images_are_told_apart_by_brightness_and_colour() -> None:
    colors = [(200, 200, 200), (180, 180, 180), (200, 190, 210), (200, 200, 200), (90, 40, 20)]
    prints = [fingerprint(Image.new("RGB", (64, 64), color)) for color in colors]
    stacks = [np.stack([getattr(p, name) for p in prints]) for name in ("bits", "gray", "chroma")]
    assert near_pairs(*stacks, max_bits=12).tolist() == [[0, 3]]


def test_near_pairs_scale_and_miss_none_within_seven_bits() -> None:
    generator = np.random.default_rng(0)
    count = 40_000  # every pair with every other would be 800 million
    bits = generator.integers(0, 256, (count, 16), dtype=np.uint8)
    for row in range(500):
        flips = np.zeros(128, dtype=np.uint8)
        flips[generator.choice(128, 7, replace=False)] = 1
        bits[count - 500 + row] = bits[row] ^ np.packbits(flips)
    same = np.tile(np.arange(256, dtype=np.uint8), (count, 1))
    pairs = near_pairs(bits, same, same[:, :32], max_bits=7)
    assert pairs.tolist() == [[row, count - 500 + row] for row in range(500)]


def test_two_numbers_of_one_image_are_no_tags(check: Callable[..., tuple[Answer, Rows]], tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "data")
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    (root / names[1]).write_bytes((root / names[0]).read_bytes())
    (root / "t.csv").write_text("\n".join(["path,age", *(f"{name},{i}" for i, name in enumerate(names))]))
    answer, _ = check("task=regression", "data=csv", f"data.file={root}/t.csv")
    assert answer.status == 2 and "decide for one label." in answer.out and "task=" not in answer.out


def test_a_target_that_never_changes_is_a_warning(check: Callable[..., tuple[Answer, Rows]], tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "data")
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    lines = ["path,age,size", *(f"{name},0.5,{i}" for i, name in enumerate(names))]
    (root / "t.csv").write_text("\n".join(lines))
    answer, rows = check("task=regression", "data=csv", f"data.file={root}/t.csv", "data.label_columns=[age,size]")
    assert answer.status == 0 and kinds(rows)["constant_target"] == 1 and "see the warnings" in answer.out
    assert "age: it is 0.5 everywhere" in answer.out
