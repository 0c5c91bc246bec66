"""The table of a sweep: one row a job, written after each job, printed when all are done."""

import csv
import json
import math
import sys
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepTable(Callback):
    """Writes `sweep.csv` (status, the settings that differ, metrics) and prints the ranking."""

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

    def ranked(self) -> list[dict[str, Any]]:
        """Best first by the monitored metric; failed jobs last."""

        def key(row: dict[str, Any]) -> float:
            value = row.get(self.monitor)
            if value is None or not math.isfinite(value):
                return math.inf
            return -value if self.mode == "max" else float(value)

        return sorted(self.rows, key=key)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        if not self.rows:
            return
        from rich.console import Console
        from rich.table import Table

        swept = [key for key in self.settings() if len({row.get(key) for row in self.rows}) > 1]
        metrics = [name for name in ("test/acc", "test/loss") if any(name in row for row in self.rows)]
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
        print(f"All of it: {self.folder}/sweep.csv")

    def settings(self) -> list[str]:
        metrics = {"job", "status", "error"}
        columns = dict.fromkeys(key for row in self.rows for key in row)
        return [key for key in columns if key not in metrics and "/" not in key and key not in RUN_FACTS]


def number_text(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if name.endswith("seconds") else f"{value:.4f}"


def short_names(keys: list[str]) -> dict[str, str]:
    """`lr` for `optimizer.lr`, where no other key ends like it."""
    last = [key.split(".")[-1] for key in keys]
    return {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}


RUN_FACTS = {"epochs", "steps", "fit_seconds"}
