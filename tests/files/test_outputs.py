"""What a command may write over: its own earlier output, and nothing of anybody else's."""

import csv
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Answer, Run, run_train

from src.files.outputs import GENERATOR, output_file, output_folder
from src.settings.errors import ConfigError

OURS = {
    "a.csv": "path,prediction,confidence,ood_score,error,prob:x\n",
    "b.csv": "kind,severity,path,other_path,label,split,detail\n",
    "c.json": json.dumps({"test/acc": 0.5, "test/ece": None}),
    "intervals.json": json.dumps({"test/acc": [0.4, 0.6]}),
    "facts.json": json.dumps({"format_version": 1, "class_names": ["a"], "ood_score_p99": None}),
    "d.html": f"<!doctype html><html><head>{GENERATOR}",
    "e.csv": "",
}
OTHERS = {
    "a.csv": "path,note\na.png,mine\n",
    "b.csv": "path;error\n",
    "c.json": json.dumps({"name": "mine"}),
    "d.html": "<!doctype html><html><head>",
    "e.csv": "\x89PNG",
    "f.json": "[1, 2]",
    "labels.json": json.dumps({"a/b.jpg": "dog"}),
    "flags.json": json.dumps({"a/b.jpg": True}),
    "empty.json": "{}",
    "version.json": json.dumps({"format_version": 2}),
    "g.onnx": "x",
    "g.pt2": "x",
    "g.png": "\x89PNG",
    "h.npz": "x",
}


@pytest.mark.parametrize("name", OURS)
def test_earlier_output_is_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(OURS[name])
    assert output_file(str(tmp_path / name), "output", overwrite=False) == tmp_path / name


@pytest.mark.parametrize("name", OTHERS)
def test_files_of_others_are_not_unless_it_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(OTHERS[name])
    with pytest.raises(ConfigError, match=rf"{name}' is there already.*overwrite=true"):
        output_file(str(tmp_path / name), "output", overwrite=False)
    assert output_file(str(tmp_path / name), "output", overwrite=True)
    with pytest.raises(ConfigError, match="overwrite=true"):
        output_folder(str(tmp_path), "output", (name,), overwrite=False)


def test_what_is_read_is_never_written_over(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text(OURS["a.csv"])
    (tmp_path / "link.csv").symlink_to(table)
    for name in ("a.csv", "link.csv"):
        with pytest.raises(ConfigError, match="is a file that is read"):
            output_file(str(tmp_path / name), "output", overwrite=True, reads=[table])


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for value, message in ((str(tmp_path), "is a folder"), (f"{tmp_path}/no/a.csv", "does not exist")):
        with pytest.raises(ConfigError, match=message):
            output_file(value, "output", overwrite=False)
    with pytest.raises(ConfigError, match="is no folder"):
        output_folder(f"{tmp_path}/file/x", "report", ("index.html",), overwrite=False)


def test_the_commands_ask_before(tmp_path: Path, colors_run: Run, colors: Path, command: Callable[..., Answer]) -> None:
    run = colors_run.directory
    table = tmp_path / "list.csv"
    table.write_text(f"path,note\n{colors}/red/x.png,mine\n")
    (tmp_path / "mine.json").write_text("{}\n" * 2)
    (tmp_path / "index.html").write_text("mine")
    for name, *arguments in (
        ("predict", f"ckpt={run}", f"images={table}", f"output={table}"),
        ("predict", f"ckpt={run}", f"images={colors}/red", f"output={table}"),
        ("evaluate", f"ckpt={run}", f"output={tmp_path}/mine.json"),
        ("evaluate", f"ckpt={run}", f"report={tmp_path}"),
        ("explain", f"ckpt={run}", f"images={colors}/red", f"output={tmp_path}"),
        ("compare", f"runs={run}", f"output={tmp_path}/index.html"),
    ):
        answer = command(name, *arguments)
        assert answer.status == 1 and "Traceback" not in answer.err, name
    assert table.read_text().endswith("mine\n") and (tmp_path / "index.html").read_text() == "mine"


def test_a_second_prediction_replaces_the_first(
    tmp_path: Path, colors_run: Run, colors: Path, command: Callable[..., Answer]
) -> None:
    for _ in range(2):
        answer = command(
            "predict", f"ckpt={colors_run.directory}", f"images={colors}/red", f"output={tmp_path}/p.csv",
            "embeddings=true", "num_workers=0",
        )  # fmt: skip
        assert answer.status == 0
    assert len(np.load(tmp_path / "p.npz")["path"]) == 20


def test_a_target_called_as_another_column(tmp_path: Path, colors: Path, command: Callable[..., Answer]) -> None:
    table = tmp_path / "t.csv"
    files = sorted(path for path in colors.glob("*/*"))[:20]
    table.write_text("path,error\n" + "".join(f"{file},{i}\n" for i, file in enumerate(files)))
    run = run_train(
        tmp_path / "run", "task=regression", f"data.file={table}", "data.image_size_px=32", "trainer.max_epochs=1"
    )
    answer = command("predict", f"ckpt={run.directory}", f"images={colors}/red", f"output={tmp_path}/p.csv")
    assert answer.status == 0
    with (tmp_path / "p.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["path", "predicted:error", "error"]


def test_a_foreign_model_beside_facts_of_ours(tmp_path: Path) -> None:
    """The file itself says whose it is, and not the .json beside it."""
    (tmp_path / "model.json").write_text(OURS["facts.json"])
    for name in ("model.onnx", "model.pt2"):
        (tmp_path / name).write_bytes(b"weights of somebody else")
        with pytest.raises(ConfigError, match="overwrite=true"):
            output_file(str(tmp_path / name), "output", overwrite=False)


def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for value in (f"{tmp_path}/pipe.csv", "/dev/null"):
        for overwrite in (False, True):
            with pytest.raises(ConfigError, match="give the name of a file"):
                output_file(value, "output", overwrite)


def test_what_a_training_left_is_kept(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "report").mkdir()
    left = {"report/index.html": OURS["d.html"], "report/intervals.json": OURS["intervals.json"]}
    for name, text in {**left, "metrics.json": OURS["c.json"], "unreadable.csv": "path,error\n"}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError, match=r"is what the training left in .*overwrite=true"):
            output_file(str(tmp_path / name), "output", overwrite=False)
        assert output_file(str(tmp_path / name), "output", overwrite=True)
    with pytest.raises(ConfigError, match="is what the training left in"):
        output_folder(f"{tmp_path}/report", "report", ("index.html",), overwrite=False)


def test_csv_and_embeddings_with_one_name(
    tmp_path: Path, colors_run: Run, colors: Path, command: Callable[..., Answer]
) -> None:
    arguments = [f"ckpt={colors_run.directory}", f"images={colors}/red", f"output={tmp_path}/e.npz"]
    answer = command("predict", *arguments, "embeddings=true")
    assert answer.status == 1 and "would be the name of the embeddings too" in answer.err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], None]]:
    """Files may not become larger, as on a disk that is full."""
    before, compiles = resource.getrlimit(resource.RLIMIT_FSIZE), sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # Python would leave half of a compiled module, which nothing can import any more
    yield lambda size_bytes: resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    sys.dont_write_bytecode = compiles


def test_a_full_disk_leaves_earlier_predictions_whole(
    tmp_path: Path, colors_run: Run, colors: Path, command: Callable[..., Answer], small_disk: Callable[[int], None]
) -> None:
    table, output, part = tmp_path / "t.csv", tmp_path / "p.csv", tmp_path / "p.csv.part"
    table.write_text("path\n" + f"{next(colors.rglob('*.png'))}\n" * 200)
    output.write_text("path,prediction,error\nold.png,red,\n")
    arguments = [f"ckpt={colors_run.directory}", f"images={table}", f"output={output}", "num_workers=0"]
    small_disk(8000)
    answer = command("predict", *arguments)
    assert answer.status == 1 and str(output) in answer.err and "Traceback" not in answer.err
    assert output.read_text() == "path,prediction,error\nold.png,red,\n"
    with part.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 32 and len(rows) % 32 == 0 and all(row["prob:red"] for row in rows)
    assert str(part) in answer.err


def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, colors_run: Run, colors: Path, command: Callable[..., Answer], small_disk: Callable[[int], None]
) -> None:
    run, image = colors_run.directory, next(colors.rglob("*.png"))
    page = tmp_path / "comparison.html"
    page.write_text(OURS["d.html"])
    small_disk(2000)
    for name, *arguments in (
        ("compare", f"runs=[{run},{run}]", f"output={page}"),
        ("evaluate", f"ckpt={run}", f"report={tmp_path}/new/report"),
        ("explain", f"ckpt={run}", f"images={image}", f"output={tmp_path}/maps"),
    ):
        answer = command(name, *arguments)
        assert answer.status == 1 and str(tmp_path) in answer.err and "Traceback" not in answer.err, (name, answer.err)
    assert list(tmp_path.rglob("*.html")) == [page] and page.read_text() == OURS["d.html"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and not path.stat().st_size]
    assert not list(tmp_path.rglob(".*")) and not (tmp_path / "maps").exists()
