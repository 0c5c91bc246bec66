"""Mistyped settings, drawn at random over all commands: each is told in a message, and none is taken though wrong."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Answer, Run, compose
from omegaconf import OmegaConf

from src.settings.check import leaves
from src.settings.project import CONF_DIR

COMMANDS = ("train", "train", "train", "evaluate", "predict", "explain", "export", "compare", "check", "serve")
GARBAGE = [
    "[",
    "]",
    "{",
    "{a:",
    "'",
    '"',
    "${",
    "${x}",
    "${oc.env:NOWHERE}",
    "a=b",
    ",",
    "[1,2",
    "\\",
    "::",
    "%%",
    "\x00x",
]
NO_OPTIONS = ["nosuch", "5", "[a,b]", "../x", "/etc/passwd", "{a: 1}"]
# Texts that say what is free to be anything: names, paths of what is made, words that others look at.
FREE = (
    "name", "output", "output_dir", "class_name", "host", "images", "_column", "filename", "dirpath", "save_dir",
    "version", "data.root", "data.file", "monitor", "report", "cache_dir", "runs", "ckpt", "model", "resume",
)  # fmt: skip


def wrong_value(default: Any, draw: random.Random) -> str:
    """A value that a setting with this default cannot have."""
    if isinstance(default, bool):
        return draw.choice(["maybe", "[]", "1.5", "tru"])
    if isinstance(default, int | float):
        return draw.choice(["abc", "[1]", "{a: 1}", "true", "1e", "--1", "0x"])
    if isinstance(default, list):
        return draw.choice(["5", "abc", "true"])
    return draw.choice(["nosuch", "{a: 1}", "[x, y]", "-3", "true"])


def mistakes(draw: random.Random, command: str) -> Iterator[tuple[str, bool]]:
    """(argument, whether it must be refused)."""
    config = OmegaConf.to_container(compose(config=command), resolve=False)
    unread = ("loss.", "task.name") if command == "check" else ()
    settings = {key: value for key, value in leaves(config) if not key.startswith(unread)}
    groups = [path.name for path in CONF_DIR.iterdir() if path.is_dir() and path.name in config and path.name != "loss"]
    while True:
        key = draw.choice(sorted(settings))
        kind = draw.randrange(6)
        if kind == 0:
            yield f"{key}x=1", True
        elif kind == 1 and groups:
            yield f"{draw.choice(groups)}={draw.choice(NO_OPTIONS)}", True
        elif kind == 2:
            yield f"{key}={draw.choice(GARBAGE)}", False
        elif kind == 3:
            yield f"+{key.rpartition('.')[0] or 'nosuch'}.{draw.choice('abcdef')}x=1", True
        else:
            free = key.endswith(FREE) or (isinstance(settings[key], str) and "${" in settings[key])
            must = not free and settings[key] is not None and settings[key] != "???"
            yield f"{key}={wrong_value(settings[key], draw)}", must


def base(command: str, run: Run, colors: Path, tmp_path: Path) -> list[str]:
    """Arguments with which the command does its work, quickly."""
    ckpt = f"ckpt={run.directory}"
    return {
        "train": ["debug=fast_dev_run", "trainer.accelerator=cpu", f"output_dir={tmp_path}/run", "data.batch_size=8"],
        "evaluate": [ckpt, "accelerator=cpu"],
        "predict": [ckpt, f"images={colors}/red", f"output={tmp_path}/p.csv", "num_workers=0", "accelerator=cpu"],
        "explain": [ckpt, f"images={colors}/red/0001.png", f"output={tmp_path}/e", "accelerator=cpu"],
        "export": [ckpt, "format=torch", f"output={tmp_path}/m.pt2", "test_images=0"],
        "compare": [f"runs=[{run.directory},{run.directory}]", f"output={tmp_path}/c.html"],
        "check": ["data=folder", f"data.root={colors}", f"output={tmp_path}/c", "data.num_workers=0"],
        "serve": ["model=nowhere.onnx", "port=0"],
    }[command]


@pytest.mark.slow
@pytest.mark.parametrize("part", range(6))
def test_fifty_mistakes(
    part: int, command: Callable[..., Answer], colors_run: Run, colors: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    draw = random.Random(part)
    wrong: list[str] = []
    for number in range(50):
        name = draw.choice(COMMANDS)
        argument, must_fail = next(mistakes(draw, name))
        where = tmp_path / str(number)
        where.mkdir()
        monkeypatch.chdir(where)
        key = argument.partition("=")[0].lstrip("+")
        given = [text for text in base(name, colors_run, colors, where) if text.partition("=")[0] != key]
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        try:
            answer = command(name, *given, argument)
        except BaseException as error:
            wrong.append(f"{name} {argument}: raised {type(error).__name__}: {error}")
            continue
        if "Traceback" in answer.err or "LexerNoViable" in answer.err:
            wrong.append(f"{name} {argument}: {answer.err.strip().splitlines()[-1]}")
        elif must_fail and answer.status == 0:
            wrong.append(f"{name} {argument}: taken")
        elif answer.status and not answer.err.strip() and not answer.out:
            wrong.append(f"{name} {argument}: no word")
    assert not wrong, "\n".join(wrong)
