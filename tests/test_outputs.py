"""What a command may write over: its own earlier output, and nothing of anybody else's."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Answer, Run, run_train

from src.errors import ConfigError
from src.outputs import GENERATOR, output_file, output_folder

OURS = {
    "a.csv": "path,prediction,confidence,ood_score,error,prob:x\n",
    "b.csv": "kind,severity,path,other_path,label,split,detail\n",
    "c.json": json.dumps({"test/acc": 0.5}),
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
    "g.onnx": "x",
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
        with pytest.raises(ConfigError, match="is the file that is read"):
            output_file(str(tmp_path / name), "output", overwrite=True, reads=str(table))


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
        ("report", f"runs={run}", f"output={tmp_path}/index.html"),
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
