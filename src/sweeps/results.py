"""What the jobs of a sweep have left in their folders: a row of settings and metrics for each, and their spread.

Jobs that differ in their seed or fold alone are repetitions of one another. Over seeds there is the 95 % confidence
interval of the mean (Student's t): what other seeds would give on the same images. Over folds there is none. They share
training images, so their scores are not independent, the t interval is too narrow, and nothing estimates the variance
without bias (Bengio & Grandvalet 2004, JMLR 5:1089).
"""

import json
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.evaluation.significance import t_interval
from src.settings.checkpoints import JOB_FILE

Row = dict[str, Any]
REPEATED = ("seed", "data.fold")
NO_SETTINGS = ("job", "status", "error", "epochs", "steps", "fit_seconds", "soup_epochs", "temperature")


@dataclass
class SweepResults:
    """Of all jobs so far. Jobs may run in other processes or on other machines, so nothing else is known of them."""

    folder: Path
    rows: list[Row]
    monitor: str = ""
    mode: str = "max"

    @classmethod
    def read(cls, folder: Path) -> "SweepResults":
        jobs = [(json.loads(file.read_text(encoding="utf-8")), file.parent) for file in folder.glob(f"*/{JOB_FILE}")]
        results = cls(folder, [])
        for job, job_dir in sorted(jobs, key=lambda job: int(job[0]["number"])):
            results.monitor, results.mode = job["monitor"], job["mode"]
            results.rows.append(read_row(job, job_dir))
        return results

    @property
    def failed(self) -> list[Row]:
        return [row for row in self.rows if row["status"] == "failed"]

    def ranked(self) -> list[Row]:
        """Best first by the monitored metric; failed jobs last."""

        def key(row: Row) -> float:
            value = row.get(self.monitor)
            if value is None or not math.isfinite(value):
                return math.inf
            return -value if self.mode == "max" else float(value)

        return sorted(self.rows, key=key)

    def repetitions(self) -> list[list[Row]]:
        """Finished jobs with the same settings, but for seed and fold; groups of at least two."""
        groups: dict[tuple[object, ...], list[Row]] = {}
        for row in self.rows:
            if row["status"] == "done" and row.get(self.monitor) is not None:
                settings = tuple((key, row.get(key)) for key in self.settings() if key not in REPEATED)
                groups.setdefault(settings, []).append(row)
        return [group for group in groups.values() if len(group) > 1]

    def settings(self) -> list[str]:
        """Names of the columns that are settings."""
        columns = dict.fromkeys(key for row in self.rows for key in row)
        return [key for key in columns if "/" not in key and key not in NO_SETTINGS]


def read_row(job: dict[str, Any], job_dir: Path) -> Row:
    """A job's line of the table, from what lies in its folder."""
    metrics_file, error_file = job_dir / "metrics.json", job_dir / "error.txt"
    status = job.get("status", "done" if job["ended"] else "running")
    row = {"job": job_dir.name, "status": status, **job["settings"], **job.get("metrics", {})}
    if error_file.exists():
        row |= {"status": "failed", "error": gist(error_file.read_text(encoding="utf-8"))}
    if metrics_file.exists() and job["ended"]:
        row |= json.loads(metrics_file.read_text(encoding="utf-8"))
    return row


def gist(error: str) -> str:
    """The line that says what was wrong: the first of a message, the last of a traceback."""
    lines = error.strip().splitlines() or [""]
    return lines[-1] if "Traceback (most recent call last)" in error else lines[0]


def summary(group: list[Row]) -> list[Row]:
    """Rows with mean, std (of the sample), min, max and interval of every number over repetitions of a job."""
    functions: dict[str, Callable[[list[Any]], Any]]
    functions = {"mean": statistics.mean, "std": statistics.stdev, "min": min, "max": max}
    if not over_folds(group):
        functions |= {"ci95_low": lambda v: t_interval(v)[0], "ci95_high": lambda v: t_interval(v)[1]}
    columns = {key: [row.get(key) for row in group] for key in group[0] if key not in ("job", "status", *REPEATED)}
    rows = []
    for status, function in functions.items():
        row: Row = {"job": f"{len(group)} jobs", "status": status}
        for key, values in columns.items():
            if all(isinstance(value, int | float) for value in values):
                row[key] = function(values)
            elif len(set(values)) == 1:
                row[key] = values[0]
        rows.append(row)
    return rows


def spread_text(group: list[Row], name: str) -> str:
    """`0.9420, 95 % CI 0.9358..0.9482, std 0.0050 [0.9346..0.9477]`; over folds without the interval."""
    scores = [float(row[name]) for row in group]
    interval = "" if over_folds(group) else " 95 % CI {:.4f}..{:.4f},".format(*t_interval(scores))
    limits = f"[{min(scores):.4f}..{max(scores):.4f}]"
    return f"{statistics.mean(scores):.4f},{interval} std {statistics.stdev(scores):.4f} {limits}"


def over_folds(group: list[Row]) -> bool:
    return len({row.get("data.fold") for row in group}) > 1
