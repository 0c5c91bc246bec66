"""The table of a sweep: one row a job, written after each job, printed when all are done.

Jobs that differ in their seed or fold alone are repetitions of one another: sweep.csv also has their mean and spread.
"""

import csv
import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepTable(Callback):
    """Writes `sweep.csv` (status, settings, metrics; mean, std, min, max of repetitions), prints the ranking.

    With folds, `out_of_fold.csv` has what each fold's model says about the pictures that it was not trained on.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.monitor, self.mode = "", "max"
        self.folder: Path | None = None

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if job_return.hydra_cfg is None or job_return.hydra_cfg.hydra.mode.name != "MULTIRUN":
            return
        hydra_cfg = job_return.hydra_cfg.hydra
        job_dir = Path(hydra_cfg.runtime.output_dir)
        self.folder = job_dir.parent
        self.monitor, self.mode = config.task.monitor, config.task.mode
        metrics_file, error_file = job_dir / "metrics.json", job_dir / "error.txt"
        row: dict[str, Any] = {"job": job_dir.name, "status": "failed" if error_file.exists() else "done"}
        row |= dict(text.lstrip("+").split("=", 1) for text in hydra_cfg.overrides.task if "=" in text)
        if metrics_file.exists():
            row |= json.loads(metrics_file.read_text(encoding="utf-8"))
        if error_file.exists():
            row["error"] = error_file.read_text(encoding="utf-8").strip().splitlines()[-1]
        self.rows.append(row)
        self.write()

    def write(self) -> None:
        assert self.folder is not None
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        with (self.folder / "sweep.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.ranked())
            for group in self.repetitions():
                writer.writerows(summary(group))

    def ranked(self) -> list[dict[str, Any]]:
        """Best first by the monitored metric; failed jobs last."""

        def key(row: dict[str, Any]) -> float:
            value = row.get(self.monitor)
            if value is None or not math.isfinite(value):
                return math.inf
            return -value if self.mode == "max" else float(value)

        return sorted(self.rows, key=key)

    def repetitions(self) -> list[list[dict[str, Any]]]:
        """Finished jobs with the same settings, but for seed and fold; groups of at least two."""
        groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for row in self.rows:
            if row["status"] == "done" and row.get(self.monitor) is not None:
                settings = tuple((key, row.get(key)) for key in self.settings() if key not in REPEATED)
                groups.setdefault(settings, []).append(row)
        return [group for group in groups.values() if len(group) > 1]

    def write_out_of_fold(self) -> Path | None:
        """Merge the folds' val_predictions.csv; None if there are no folds."""
        assert self.folder is not None
        rows = [row for group in self.repetitions() for row in group if "data.fold" in row]
        if not rows:
            return None
        merged = []
        for row in rows:
            predictions = self.folder / row["job"] / "report" / "val_predictions.csv"
            with predictions.open(newline="", encoding="utf-8") as part:
                merged += [{"job": row["job"], "fold": row["data.fold"], **line} for line in csv.DictReader(part)]
        output = self.folder / "out_of_fold.csv"
        with output.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(merged[0]))
            writer.writeheader()
            writer.writerows(merged)
        return output

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        if not self.rows:
            return
        from rich.console import Console
        from rich.table import Table

        swept = [key for key in self.settings() if len({row.get(key) for row in self.rows}) > 1]
        tested = (self.monitor.replace("val/", "test/"), "test/acc", "test/loss")
        metrics = [name for name in tested if any(name in row for row in self.rows)]
        columns = [*dict.fromkeys([self.monitor, *metrics]), "fit_seconds"]
        table = Table(title=f"{len(self.rows)} jobs, best {self.monitor} first", title_justify="left")
        for name in ["job", *short_names(swept).values(), *columns]:
            table.add_column(name, justify="right" if name in columns else "left", overflow="fold")
        for row in self.ranked():
            values = [number_text(name, row.get(name)) for name in columns]
            number, status = row["job"].split("_")[0], row["status"]
            table.add_row(number if status == "done" else f"{number} {status}", *(str(row[k]) for k in swept), *values)
        # In a file or a pipe there is no terminal whose width could be kept to.
        Console(width=None if sys.stdout.isatty() else 160).print(table)
        for row in self.rows:
            if row["status"] == "failed":
                print(f"Job {row['job']} failed: {row['error']}")
        for group in self.repetitions():
            scores = [float(row[self.monitor]) for row in group]
            same = ", ".join(f"{key}={group[0][key]}" for key in swept if key not in REPEATED)
            spread = f"{statistics.mean(scores):.4f} ± {statistics.stdev(scores):.4f}"
            limits = f"[{min(scores):.4f}..{max(scores):.4f}]"
            print(f"{self.monitor} {spread} {limits} over {len(group)} jobs {same}".rstrip())
        if merged := self.write_out_of_fold():
            print(f"Each picture's prediction by a model that was not trained on it: {merged}")
        print(f"All of it: {self.folder}/sweep.csv")

    def settings(self) -> list[str]:
        metrics = {"job", "status", "error"}
        columns = dict.fromkeys(key for row in self.rows for key in row)
        return [key for key in columns if key not in metrics and "/" not in key and key not in RUN_FACTS]


def summary(group: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with mean, std (of the sample), min and max of every number over repetitions of a job."""
    functions = {"mean": statistics.mean, "std": statistics.stdev, "min": min, "max": max}
    columns = {key: [row.get(key) for row in group] for key in group[0] if key not in ("job", "status", *REPEATED)}
    rows = []
    for status, function in functions.items():
        row: dict[str, Any] = {"job": f"{len(group)} jobs", "status": status}
        for key, values in columns.items():
            if all(isinstance(value, int | float) for value in values):
                row[key] = function(values)  # type: ignore[operator]
            elif len(set(values)) == 1:
                row[key] = values[0]
        rows.append(row)
    return rows


def number_text(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if name.endswith("seconds") else f"{value:.4f}"


def short_names(keys: list[str]) -> dict[str, str]:
    """`lr` for `optimizer.lr`, where no other key ends like it."""
    last = [key.split(".")[-1] for key in keys]
    return {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}


REPEATED = ("seed", "data.fold")
RUN_FACTS = {"epochs", "steps", "fit_seconds"}
