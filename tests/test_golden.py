"""What a change that only moves code must leave as it is: the commands, as typed, against the files of tests/golden.

A folder per task: what predict, export, serve and the report made of one small training. The folder `digits` has the
losses, step by step, of the recipe that a plain `python -m src.train` uses. Texts and keys are compared exactly,
numbers within what other processors make of them. Where such a change is meant, the files are written anew, to be
looked through with `git diff`:

    GOLDEN=write pytest -m "" tests/test_golden.py
"""

import csv
import html
import io
import json
import math
import os
import re
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import COLORS, Answer, paint
from support.slow import mostly_slow

GOLDEN = Path(__file__).parent / "golden"
TOLERANCE = 1e-3  # of a number, or, where that is more, this share of it
TAGS = {"red": "warm;strong", "green": "cold", "blue": "cold;strong"}
NUMBERS = {"red": (220, 60), "green": (60, 90), "blue": (60, 220)}
TASKS = {
    "classification": ["data=folder", "data.root=images"],
    "multilabel": ["task=multilabel", "data.file=table.csv", "data.label_columns=tags"],
    "regression": ["task=regression", "data.file=table.csv", "data.label_columns=[red,blue]"],
    "detection": [
        "task=detection",
        "data.scenes=60",
        "data.scene_px=64",
        "data.image_size_px=64",
        "head.strides=[8,16]",
        "trainer.max_epochs=6",
        "optimizer.lr=3e-4",
        "augment=none",
    ],
}
SMALL = [
    "trainer=cpu", "trainer.max_epochs=2", "data.image_size_px=32", "data.batch_size=8", "data.num_workers=0",
    "data.cache=none", "optimizer.lr=1e-3", "logger=none", "seed=0", "output_dir=run",
]  # fmt: skip
LOSSES = [
    "trainer=cpu", "trainer.max_epochs=1", "data.batch_size=16", "+trainer.limit_train_batches=24", "logger=csv",
    "trainer.log_every_n_steps=1", "seed=0", "output_dir=run", "test=false",
]  # fmt: skip
Command = Callable[..., Answer]

# Dropout's masks come from MKL's generator; without it they are others, and so are all numbers.
pytestmark = pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="the golden files are of torch with MKL")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with coloured digits, and a table of their tags and numbers."""
    monkeypatch.chdir(tmp_path)
    for seed, color in enumerate(COLORS):
        paint(tmp_path / "images" / color, color, count=16, seed=seed)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.[pj]*g"))
    lines = [[path, TAGS[path.parent.name], *NUMBERS[path.parent.name]] for path in files]
    (tmp_path / "table.csv").write_text(written([["path", "tags", "red", "blue"], *lines]))
    return tmp_path


@pytest.mark.parametrize("task", mostly_slow(TASKS, "classification"))
def test_commands(task: str, here: Path, command: Command, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", "torch.__trace")  # thousands of lines in which the differences would be lost
    run(command, "train", *SMALL, *TASKS[task])
    run(command, "predict", "ckpt=run", "images=images", "output=predictions.csv", "accelerator=cpu")
    run(command, "export", "ckpt=run", "output=model.onnx")
    metrics = json.loads(Path("run/metrics.json").read_text())
    export = json.loads(Path("model.json").read_text())
    metrics["fit_seconds"] = export["versions"] = "other each time"
    image = sorted(Path("images/red").iterdir())[0]
    headers = {path.name: rows(path)[0] for path in sorted(Path("run/report").glob("*.csv"))}
    compare(
        task,
        {
            "predict.csv": rows(Path("predictions.csv")),
            "metrics.json": dict(sorted(metrics.items())),
            "export.json": export,
            "answer.json": {model: ask(command, model, image) for model in ("ckpt=run", "model=model.onnx")},
            "report.json": {"csv": headers, "headings": headings(Path("run/report/index.html").read_text())},
        },
    )


def test_losses(here: Path, command: Command) -> None:
    run(command, "train", *LOSSES)
    header, *lines = rows(Path("run/csv/metrics.csv"))
    steps = [dict(zip(header, line, strict=True)) for line in lines]
    losses = [[step["step"], step["train/loss_step"]] for step in steps if step["train/loss_step"]]
    compare("digits", {"losses.csv": [["step", "train/loss_step"], *losses]})


# ---------------------------------------------------------------------------------------------------- what is compared


def run(command: Command, name: str, *arguments: str) -> None:
    answer = command(name, *arguments)
    assert answer.status == 0, answer.err


def ask(command: Command, model: str, image: Path) -> Any:
    """What src.serve answers for one image, served in this process while a thread asks."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ended, found = threading.Event(), []

    def client() -> None:
        address = f"http://127.0.0.1:{port}/predict?name={image.name}"
        request = urllib.request.Request(address, image.read_bytes(), {"Content-Type": f"image/{image.suffix[1:]}"})
        while not ended.is_set() and not found:
            try:
                with urllib.request.urlopen(request, timeout=30) as reply:
                    found.append(json.load(reply))
            except urllib.error.HTTPError as error:
                found.append({"status": error.code, "body": error.read().decode()})
            except OSError:  # nobody listens yet
                time.sleep(0.05)
        if found:
            os.kill(os.getpid(), signal.SIGTERM)  # which ends the service; it has its handler since it answers

    thread = threading.Thread(target=client)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    thread.start()
    try:
        run(command, "serve", model, f"port={port}", "accelerator=cpu")
    finally:
        ended.set()
        thread.join()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return found[0]


def headings(page: str) -> list[str]:
    """ "h2 Results" and so on, in order."""
    texts = re.findall(r"<(h[123])\b[^>]*>(.*?)</\1>", page, re.DOTALL)
    return [f"{kind} {' '.join(html.unescape(re.sub('<[^>]*>', '', text)).split())}" for kind, text in texts]


def rows(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.reader(lines))


def written(content: Any) -> str:
    """As the text of a file: a table as csv, anything else as json."""
    if not isinstance(content, list):
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(content)
    return text.getvalue()


def compare(folder: str, files: dict[str, Any]) -> None:
    """Each file's content with the one of this name in the golden folder; all differences are told at once."""
    if os.environ.get("GOLDEN") == "write":
        (GOLDEN / folder).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (GOLDEN / folder / name).write_text(written(content), encoding="utf-8")
    found = []
    for name, content in files.items():
        file = GOLDEN / folder / name
        if name.endswith(".csv"):
            found += table_differences(f"{folder}/{name}", rows(file), content)
        else:
            golden = json.loads(file.read_text(encoding="utf-8"))
            found += differences(f"{folder}/{name}", golden, json.loads(json.dumps(content)))
    if found:
        pytest.fail("\n".join(["Other than the golden files (GOLDEN=write, where that is meant):", *found]), False)


def table_differences(where: str, was: list[list[str]], now: list[list[str]]) -> Iterator[str]:
    header = was[0]
    if header != now[0]:
        yield f"{where}, header: was {header}, is {now[0]}"
        return
    for number, (before, after) in enumerate(zip_longest(was, now), start=1):
        if before is None or after is None or len(before) != len(after):
            yield f"{where}, line {number}: was {before}, is {after}"
            continue
        for column, *cells in zip(header, before, after, strict=True):
            yield from differences(f"{where}, line {number}, {column}", *map(number_of, cells))


def number_of(cell: str) -> str | float:
    try:
        return float(cell)
    except ValueError:
        return cell


def differences(where: str, was: Any, now: Any) -> Iterator[str]:
    """One line for each key, value or place that differs: where it is, what it was and what it is."""
    if isinstance(was, dict) and isinstance(now, dict):
        if was.keys() != now.keys():
            yield f"{where}, keys: gone {sorted(was.keys() - now.keys())}, new {sorted(now.keys() - was.keys())}"
        elif list(was) != list(now):
            yield f"{where}, order of keys: was {[*was]}, is {[*now]}"
        for key in filter(now.__contains__, was):
            yield from differences(f"{where}: {key}", was[key], now[key])
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for i, (before, after) in enumerate(zip(was, now, strict=True)):
            yield from differences(f"{where}[{i}]", before, after)
    elif isinstance(was, float) and isinstance(now, float):
        if not math.isclose(was, now, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            yield f"{where}: was {was}, is {now}"
    elif type(was) is not type(now) or was != now:
        yield f"{where}: was {was!r}, is {now!r}"
