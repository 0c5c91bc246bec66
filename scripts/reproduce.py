"""Run recipes and the plain loop over several seeds, and print the table of results.

    python -m scripts.reproduce [HYMENOPTERA] [--rows NAME ...] [--seeds 5] [--jobs 1]

HYMENOPTERA is the folder with train/ and val/ of the data of PyTorch's transfer-learning tutorial
(pytorch.org/tutorials/beginner/transfer_learning_tutorial.html names the download); without it only the digits run.
Runs go to logs/reproduce, and those that are there already are not run again. With --jobs 2, two run at a time with
half of the cores each: accuracies stay what they are, times are longer, on both sides of a comparison.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from src.config import PROJECT_ROOT
from src.sweep import t_interval

RUNS = Path("logs/reproduce")


@dataclass(frozen=True)
class Row:
    """One line of the table: what it is called, and the settings of src.train, or the options of plain_loop.py."""

    name: str
    data: str
    settings: tuple[str, ...] = ()
    plain: bool = False

    @property
    def folder(self) -> Path:
        return RUNS / self.data / self.name.replace(" ", "_")

    def command(self, root: Path | None, seed: int) -> list[str]:
        folder = self.folder / f"seed={seed}"
        if self.plain:
            script = [str(PROJECT_ROOT / "scripts" / "plain_loop.py"), str(root), f"--seed={seed}", *self.settings]
            return [sys.executable, *script, f"--json={folder}/metrics.json"]
        data = [] if root is None else ["data=folder", f"data.root={root}"]
        settings = [*data, *self.settings, f"seed={seed}", f"output_dir={folder}", "logger=none"]
        return [sys.executable, "-m", "src.train", *settings]


ROWS = [
    Row("default", "digits"),
    Row("random weights", "digits", ("backbone.weights=null",)),
    Row("head only", "digits", ("freeze=head_only",)),
    Row("plain loop", "hymenoptera", ("--channels-last",), plain=True),
    Row("plain loop, head only", "hymenoptera", ("--channels-last", "--head-only"), plain=True),
    Row("random weights", "hymenoptera", ("experiment=full", "backbone.weights=null")),
    Row("linear_probe", "hymenoptera", ("experiment=linear_probe",)),
    Row("full", "hymenoptera", ("experiment=full",)),
    Row("lp_ft", "hymenoptera", ("experiment=lp_ft",)),
    Row("small_data", "hymenoptera", ("experiment=small_data",)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hymenoptera", type=Path, nargs="?", help="folder with train/ and val/")
    parser.add_argument("--rows", nargs="+", help="names of rows; all others are left out")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to n-1 of each row")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    options = parser.parse_args()
    known = sorted({row.name for row in ROWS})
    if unknown := set(options.rows or ()) - set(known):
        parser.error(f"--rows: there is no {', '.join(sorted(unknown))}. Rows: {', '.join(known)}.")
    if options.hymenoptera is not None and not (options.hymenoptera / "val").is_dir():
        parser.error(f"'{options.hymenoptera}' has no folder val.")
    roots = {"digits": None, "hymenoptera": options.hymenoptera}
    chosen = [row for row in ROWS if options.rows is None or row.name in options.rows]
    chosen = [row for row in chosen if row.data == "digits" or options.hymenoptera is not None]

    def run(job: tuple[Row, int]) -> None:
        row, seed = job
        folder = row.folder / f"seed={seed}"
        if (folder / "metrics.json").exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        environ = {**os.environ}
        if options.jobs > 1:
            environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // options.jobs))
        root = roots[row.data]
        command = row.command(root.resolve() if root is not None else None, seed)
        with (folder / "output.txt").open("w") as output:
            done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=environ, cwd=PROJECT_ROOT)
        ended = "done" if done.returncode == 0 else f"failed, see {folder}/output.txt"
        print(f"{row.data}, {row.name}, seed {seed}: {ended}", flush=True)

    # Seed by seed, so that the sides of a comparison meet the same state of the machine.
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(run, [(row, seed) for seed in range(options.seeds) for row in chosen]))
    show(chosen, options.seeds)


def results(row: Row, seeds: int) -> Iterator[dict[str, Any]]:
    """For each finished seed: accuracy of the last epoch on val (and on test), seconds, and the accuracy by epoch."""
    for seed in range(seeds):
        file = row.folder / f"seed={seed}" / "metrics.json"
        if not file.exists():
            continue
        found = json.loads(file.read_text(encoding="utf-8"))
        if row.plain:
            seconds = found["fit_end"] - found["fit_start"]
            curve = [(epoch["seconds"], epoch["val_acc"]) for epoch in found["epochs"]]
            yield {"val": curve[-1][1], "seconds": seconds, "curve": curve, "epochs": len(curve)}
        else:
            seconds, epochs = found["fit_seconds"], found["epochs"]
            yield {"val": found["last/val/acc"], "test": found.get("test/acc"), "seconds": seconds, "epochs": epochs}


def after(curve: list[tuple[float, float]], seconds: float) -> float:
    """Accuracy of a plain loop's last epoch that had ended after so many seconds; of its first if none had."""
    gone, accuracy = 0.0, curve[0][1]
    for duration, value in curve:
        gone += duration
        if gone > seconds:
            break
        accuracy = value
    return accuracy


def show(rows: list[Row], seeds: int) -> None:
    table = Table(title=f"Last epoch, mean [min..max], {seeds} seeds", title_justify="left")
    for name in ("data", "row", "epochs", "fit", "val/acc", "95 % CI", "test/acc", "plain loop after that time"):
        table.add_column(name, justify="left" if name in ("data", "row") else "right")
    found = {(row.data, row.name): list(results(row, seeds)) for row in rows}
    plain = found.get(("hymenoptera", "plain loop"), [])
    for row in rows:
        runs = found[row.data, row.name]
        if not runs:
            continue
        fit = statistics.median(run["seconds"] for run in runs)
        scores = [run["val"] for run in runs]
        low_high = "{:.3f}..{:.3f}".format(*t_interval(scores)) if len(scores) > 1 else ""
        tests = [run["test"] for run in runs if run.get("test") is not None]
        equal = [after(run["curve"], fit) for run in plain] if row.data == "hymenoptera" else []
        texts = [spread(scores), low_high, spread(tests), spread(equal)]
        table.add_row(row.data, row.name, str(runs[0]["epochs"]), f"{fit:.0f} s", *texts)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} [{min(values):.3f}..{max(values):.3f}]" if values else ""


if __name__ == "__main__":
    main()
