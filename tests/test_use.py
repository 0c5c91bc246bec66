"""evaluate and predict: from the checkpoint alone, elsewhere, with whatever images come."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import Answer, Run
from PIL import Image
from support.slow import one_in


@pytest.fixture
def elsewhere(colors_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another working directory, with nothing but a copy of the best checkpoint."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(colors_run.directory / "checkpoints" / "best.ckpt", folder / "model.ckpt")
    monkeypatch.chdir(folder)
    return folder


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_evaluate_repeats_the_test_of_the_run(colors_run: Run, elsewhere: Path, command) -> None:
    answer: Answer = command("evaluate", "ckpt=model.ckpt", "output=m.json", "accelerator=cpu")
    assert answer.status == 0, answer.err
    metrics = json.loads((elsewhere / "m.json").read_text())
    for name in ("test/acc", "test/loss", "test/f1"):
        assert metrics[name] == pytest.approx(colors_run.metrics[name], abs=1e-5)
    assert f"test/acc                {metrics['test/acc']:.4f}" in answer.out
    assert {path.name for path in elsewhere.iterdir()} == {"model.ckpt", "m.json"}


@pytest.mark.parametrize(("split", "images"), [("train", 42), ("val", 9), ("all", 60)])
def test_evaluate_other_splits(colors_run: Run, command, split: str, images: int) -> None:
    answer: Answer = command("evaluate", f"ckpt={colors_run.directory}", f"split={split}", "accelerator=cpu")
    assert answer.status == 0 and f"on {split}: {images} images" in answer.err and f"{split}/acc" in answer.out


def test_evaluate_on_other_data_by_class_name(colors: Path, elsewhere: Path, command) -> None:
    """Only one of the classes: its index must be the model's, not its place in the folder."""
    shutil.copytree(colors / "red", elsewhere / "other" / "red")
    arguments = ["ckpt=model.ckpt", "data=folder", "data.root=other", "output=m.json", "accelerator=cpu"]
    arguments.append("data.num_workers=0")
    answer: Answer = command("evaluate", *arguments)
    assert answer.status == 0, answer.err
    assert json.loads((elsewhere / "m.json").read_text())["all/acc"] > 0.8
    (elsewhere / "other" / "red").rename(elsewhere / "other" / "purple")
    answer = command("evaluate", *arguments)
    assert answer.status == 1 and "has classes that the model lacks: purple" in answer.err


def test_evaluate_changes_single_settings_of_its_data(colors: Path, colors_run: Run, command, tmp_path: Path) -> None:
    """Its own images, in batches of another size; and images of the same kind in another folder, all of them."""
    ckpt = f"ckpt={colors_run.directory}"
    plain: Answer = command("evaluate", ckpt, "accelerator=cpu")
    for change in ("data.batch_size=4", f"data.root={colors}"):
        assert command("evaluate", ckpt, "accelerator=cpu", change).out == plain.out
    shutil.copytree(colors, tmp_path / "other images #2")
    answer = command("evaluate", ckpt, "accelerator=cpu", f"data.root={tmp_path}/other images #2")
    assert answer.status == 0 and "on all: 60 images" in answer.err and "may have been trained on" not in answer.err


def test_evaluate_notices_changed_data(colors: Path, colors_run: Run, command, tmp_path: Path) -> None:
    extra = colors / "red" / "extra.png"
    shutil.copy(next((colors / "red").glob("*.png")), extra)
    try:
        answer: Answer = command("evaluate", f"ckpt={colors_run.directory}", "accelerator=cpu")
    finally:
        extra.unlink()
    assert answer.status == 0 and "The data have changed since the training" in answer.err


def test_predict_keeps_the_order_and_reports_damage(colors: Path, elsewhere: Path, command) -> None:
    images = elsewhere / "images"
    for color in ("red", "blue"):
        shutil.copytree(colors / color, images / color)
    (images / "blue" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    (images / "blue" / "notes.txt").write_text("no image")
    Image.new("RGBA", (9, 200), (0, 0, 255, 255)).save(images / "blue" / "tall.png")
    answer: Answer = command("predict", "ckpt=model.ckpt", "images=images", "batch_size=8", "accelerator=cpu")
    assert answer.status == 0, answer.err
    rows = rows_of(elsewhere / "predictions.csv")
    assert list(rows[0]) == [
        "path",
        "prediction",
        "confidence",
        "ood_score",
        "error",
        "prob:blue",
        "prob:green",
        "prob:red",
    ]
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows) and len(rows) == 42
    broken = next(row for row in rows if "broken" in row["path"])
    assert "cannot identify image file" in broken["error"] and broken["prediction"] == broken["prob:red"] == ""
    good = [row for row in rows if not row["error"]]
    assert sum(row["prediction"] == Path(row["path"]).parent.name for row in good) / len(good) > 0.8
    for row in good:
        probabilities = {name: float(row[f"prob:{name}"]) for name in ("blue", "green", "red")}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert row["prediction"] == max(probabilities, key=probabilities.__getitem__)
        assert float(row["confidence"]) == max(probabilities.values())
    assert "1 could not be read" in answer.err


@pytest.mark.parametrize(
    ("name", "table"), [("predict", "out.csv"), ("label_next", None), ("explain", "out.csv/explanations.csv")]
)
def test_nothing_but_damaged_images_is_a_failure(elsewhere: Path, command, name: str, table: str | None) -> None:
    """A script must not go on with a table of nothing; what was found out about each image stays."""
    (elsewhere / "images").mkdir()
    for number in (0, 1):
        (elsewhere / "images" / f"{number}.jpg").write_bytes(b"\xff\xd8\xff broken")
    answer: Answer = command(name, "ckpt=model.ckpt", "images=images", "output=out.csv", "accelerator=cpu")
    why = "images: not one can be read, e.g. images/0.jpg: cannot identify image file."
    where = f" All reasons: the column error of {table}." if table else ""
    # rich 14 ends a progress bar that nobody sees with an empty line.
    assert answer.status == 1 and answer.err.lstrip("\n") == f"{why}{where}\n"
    if table:
        assert all(row["error"] for row in rows_of(elsewhere / table)) and len(rows_of(elsewhere / table)) == 2
    else:
        assert not (elsewhere / "out.csv").exists()


def test_predict_equals_evaluation(colors: Path, colors_run: Run, elsewhere: Path, command) -> None:
    """The same images through src.predict and through the data module of the run."""
    split = [row for row in colors_run.csv("split.csv") if row["split"] == "test"]
    with (colors / "test.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["label", "path", "split"])
        writer.writeheader()
        writer.writerows(reversed(split))
    answer: Answer = command("predict", "ckpt=model.ckpt", f"images={colors}/test.csv", "accelerator=cpu")
    (colors / "test.csv").unlink()
    assert answer.status == 0, answer.err
    rows = rows_of(elsewhere / "predictions.csv")
    assert [row["path"] for row in rows] == [row["path"] for row in reversed(split)]
    right = sum(row["prediction"] == wanted["label"] for row, wanted in zip(rows, reversed(split), strict=True))
    assert right / len(rows) == pytest.approx(colors_run.metrics["test/acc"])


def test_predict_a_glob_and_a_file(colors: Path, elsewhere: Path, command) -> None:
    answer: Answer = command(
        "predict", "ckpt=model.ckpt", f"images='{colors}/*/*.png'", "output=g.csv", "accelerator=cpu", "num_workers=0"
    )
    assert answer.status == 0 and len(rows_of(elsewhere / "g.csv")) == len(list(colors.rglob("*.png")))
    one = next(colors.rglob("*.jpg"))
    answer = command("predict", "ckpt=model.ckpt", f"images={one}", "output=one.csv", "accelerator=cpu")
    assert answer.status == 0 and [row["path"] for row in rows_of(elsewhere / "one.csv")] == [str(one)]


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("predict", ["images=nope*"], "images='nope*' matches no file"),
        ("predict", ["images='g[1]/*.jpg'"], "For a [ that belongs to a name: images='g[[]1]/*.jpg'."),
        ("predict", ["images=empty"], "images='empty' has no images"),
        ("predict", ["images=bad.csv"], "has no column 'path', only: file, label"),
        ("predict", ["images=model.ckpt", "output=nowhere/p.csv"], "the folder nowhere does not exist"),
        ("predict", ["images=model.ckpt", "output=empty"], "output='empty' is a folder"),
        ("predict", ["images=model.ckpt", "ckpt=empty"], "No checkpoint at 'empty'"),
        ("predict", ["images=model.ckpt", "ckpt=bad.csv"], "'bad.csv' cannot be read as a checkpoint"),
        ("predict", ["images=model.ckpt", "ckpt=other.ckpt"], "is not a checkpoint of this project"),
        ("predict", ["images=model.ckpt", "batch_size=0"], "batch_size=0 is out of range"),
        ("evaluate", ["split=testing"], "split='testing' is not allowed. Did you mean 'test'?"),
        ("evaluate", ["data=folder"], "data.root is not set"),
        ("evaluate", ["data.batch_size=0"], "data.batch_size=0 is out of range"),
        ("evaluate", ["data.rot=x"], "data.rot is no argument of src.data.formats.folder.ImageFolderDataModule"),
        ("evaluate", ["data.root=nope"], "data.root='nope' does not exist"),
        ("evaluate", ["ckpt=nope"], "ckpt='nope' does not exist"),
    ],
)
def test_mistakes(elsewhere: Path, command, name: str, arguments: list[str], text: str) -> None:
    (elsewhere / "empty").mkdir()
    (elsewhere / "bad.csv").write_text("file,label\nx,y\n")
    torch.save({"state_dict": {}}, elsewhere / "other.ckpt")
    ckpt = [] if any(argument.startswith("ckpt") for argument in arguments) else ["ckpt=model.ckpt"]
    answer: Answer = command(name, *ckpt, *arguments)
    assert answer.status == 1 and text in answer.err and "Traceback" not in answer.err


def test_predict_takes_names_that_are_not_utf_8(colors: Path, elsewhere: Path, command) -> None:
    folder = elsewhere / "odd"
    folder.mkdir()
    shutil.copy(next(colors.rglob("*.png")), os.fsencode(folder) + b"/caf\xe9.png")
    answer: Answer = command("predict", "ckpt=model.ckpt", "images=odd", "output=odd.csv", "accelerator=cpu")
    assert answer.status == 0, answer.err
    assert [row["path"] for row in rows_of(elsewhere / "odd.csv")] == ["odd/caf\\udce9.png"]


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    one_in(
        2,
        [
            ("train", ["output_dir={run}"], "holds a run already"),
            ("evaluate", ["ckpt={run}", "output={run}/config.yaml"], "is no earlier output of this command"),
            ("predict", ["ckpt={run}/report", "images=."], "No checkpoint at"),
            ("publish", ["ckpt={run}", "output=x", "files=[no.onnx]"], "'no.onnx' does not exist"),
            ("export", ["ckpt={run}", "images=nowhere"], "images='nowhere' matches no file"),
        ],
    ),
)
def test_told_before_torch_is_imported(
    colors_run: Run, tmp_path: Path, name: str, arguments: list[str], text: str
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('torch was imported')")
    typed = [argument.format(run=colors_run.directory) for argument in arguments]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", f"src.{name}", *typed], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1 and text in done.stderr and "torch was imported" not in done.stderr
