"""src.publish: a folder that others can use, with nothing of this machine in it."""

import json
from pathlib import Path

import pytest
import torch
from conftest import Answer, Run

from src.publishing.folder import without_paths


def test_the_folder(colors: Path, colors_run: Run, tmp_path: Path, command) -> None:
    folder, extra = tmp_path / "hub", tmp_path / "model.onnx"
    extra.write_bytes(b"onnx")
    answer: Answer = command("publish", f"ckpt={colors_run.directory}", f"output={folder}", f"files=[{extra}]")
    assert answer.status == 0 and "TO FILL IN" in answer.err, answer.err
    names = ["README.md", "best.ckpt", "config.yaml", "metrics.json", "model.onnx"]
    assert sorted(path.name for path in folder.iterdir()) == names
    for path in folder.iterdir():  # the checkpoint is a zip file without compression
        assert str(colors_run.directory.parents[1]).encode() not in path.read_bytes(), path
        assert str(Path.home()).encode() + b"/" not in path.read_bytes(), path
    checkpoint = torch.load(folder / "best.ckpt", weights_only=True)
    assert "optimizer_states" not in checkpoint and checkpoint["finetune"]["config"]["data"]["root"] == colors.name
    assert json.loads((folder / "metrics.json").read_text()) == colors_run.metrics

    image = next((colors / "red").glob("*.png"))
    answers = []
    for ckpt in (folder / "best.ckpt", colors_run.directory):
        out = tmp_path / "p.csv"
        answer = command("predict", f"ckpt={ckpt}", f"images={image}", f"output={out}", "accelerator=cpu")
        assert answer.status == 0, answer.err
        answers.append(out.read_text())
    assert answers[0] == answers[1]


def test_mistakes(colors_run: Run, tmp_path: Path, command) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "other").mkdir()
    run, new = f"ckpt={colors_run.directory}", f"output={tmp_path}/a"
    for arguments, text in (
        (["ckpt=nope", new], "ckpt='nope' does not exist"),
        ([f"ckpt={tmp_path}/other", new], f"No checkpoint at '{tmp_path}/other'"),
        ([run, f"output={tmp_path}/full"], "is there already and not empty"),
        ([run, new, "files=[no.onnx]"], "'no.onnx' does not exist"),
        ([run, new, "repo=just-a-name"], "repo='just-a-name' is no repository: give owner/name"),
        ([run], "output is not set"),
        ([run, new, "files=model.onnx"], "files takes a list: files=[a,b]."),
    ):
        answer = command("publish", *arguments)
        assert answer.status == 1 and text in answer.err and answer.err.count("\n") == 1, answer.err
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("/home/me/images", "images"),
        ("~/x/y.csv", "y.csv"),
        ("C:\\Users\\me\\z", "z"),
        ("../up/w", "w"),
        ("src/assets/a.safetensors", "src/assets/a.safetensors"),
        ("torch.optim.AdamW", "torch.optim.AdamW"),
        (["/a/b", {"k": "/c/d"}, 3], ["b", {"k": "d"}, 3]),
    ],
)
def test_paths_are_cut(value, left) -> None:
    assert without_paths(value) == left
