"""The table of a sweep: one row per job, written after each job, printed when all are done.

Jobs that differ in their seed or fold alone are repetitions of one another: sweep.csv also has their mean and spread,
and over seeds the 95 % confidence interval of the mean (Student's t): what other seeds would give on the same images.
Over folds there is none. Folds share training images, so their scores are not independent, the t interval is too
narrow, and nothing estimates the variance without bias (Bengio & Grandvalet 2004, JMLR 5:1089).
"""

import json
import math
import os
import socket
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from src.cli.command import failed_jobs
from src.files.csv_files import CsvWriter
from src.files.plain_files import read_table
from src.sweeps.jobs import JOB_FILE, read_row, take_new_folder, write_job_file


class SweepTable(Callback):
    """Writes `sweep.csv` (status, settings, metrics; mean, std, min, max, interval of repetitions), prints the ranking.

    Jobs may run in other processes or on other machines (hydra/launcher=joblib, submitit_slurm, ray). So all that is
    known of them is what lies in their folders; `job.json` in each says what the job was.

    With folds, `out_of_fold.csv` has what each fold's model says about the images that it was not trained on.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.monitor, self.mode = "", "max"
        self.folder: Path | None = None
        self.spreadsheet_safe = True

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """The table is of this sweep, and not of one that had the same folder before."""
        take_new_folder(config)
        for file in Path(config.hydra.sweep.dir).glob(f"*/{JOB_FILE}"):
            file.unlink()

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        if config.hydra.mode.name == "MULTIRUN":
            write_job_file(config, ended=False)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if config.hydra.mode.name == "MULTIRUN":
            write_job_file(config, ended=True)
            self.spreadsheet_safe = config.get("spreadsheet_safe", True)
            self.read(Path(config.hydra.runtime.output_dir).parent)
            self.write()

    def read(self, folder: Path) -> None:
        """Take everything from the jobs' folders."""
        self.folder, self.rows = folder, []
        jobs = [(json.loads(file.read_text(encoding="utf-8")), file.parent) for file in folder.glob(f"*/{JOB_FILE}")]
        for job, job_dir in sorted(jobs, key=lambda job: int(job[0]["number"])):
            self.monitor, self.mode = job["monitor"], job["mode"]
            self.rows.append(read_row(job, job_dir))

    def write(self) -> None:
        """Write to a file of its own first: jobs in several processes may end at the same moment."""
        assert self.folder is not None
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        part = self.folder / f"sweep.csv.{socket.gethostname()}.{os.getpid()}.part"
        with part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = CsvWriter(file, columns, self.spreadsheet_safe)
            writer.write_all(self.ranked())
            for group in self.repetitions():
                writer.write_all(summary(group))
        part.replace(self.folder / "sweep.csv")

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
        output = self.folder / "out_of_fold.csv"
        with output.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer: CsvWriter | None = None
            for row in rows:
                for line in read_table(self.folder / row["job"] / "report" / "val_predictions.csv"):
                    writer = writer or CsvWriter(file, ["job", "fold", *line], self.spreadsheet_safe)
                    writer.write({"job": row["job"], "fold": row["data.fold"], **line})
        return output

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """In the process that was started by hand."""
        self.spreadsheet_safe = config.get("spreadsheet_safe", True)
        self.read(Path(config.hydra.sweep.dir))
        if not self.rows:
            return
        for row in self.rows:
            if row["status"] == "running":  # there is nobody left to run it
                row |= {"status": "failed", "error": "ended without a result: see its train.log"}
        failed_jobs[:] = [row["job"] for row in self.rows if row["status"] == "failed"]
        self.write()
        self.report()

    def report(self) -> None:
        """Print the ranking, what failed, and mean and spread of repetitions."""
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
        last = f"last/{self.monitor}"
        for group in self.repetitions():
            same = ", ".join(f"{key}={group[0][key]}" for key in swept if key not in REPEATED)
            for name in (self.monitor, last):
                if all(row.get(name) is not None for row in group):
                    print(f"{name} {spread_text(group, name)} over {len(group)} jobs {same}".rstrip())
        if any(row.get(last) is not None for group in self.repetitions() for row in group):
            print(f"({self.monitor} is of the epoch that was best on val, which flatters; {last} of the last epoch.)")
        if merged := self.write_out_of_fold():
            print(f"Each image's prediction by a model that was not trained on it: {merged}")
        print(f"All of it: {self.folder}/sweep.csv")

    def settings(self) -> list[str]:
        metrics = {"job", "status", "error"}
        columns = dict.fromkeys(key for row in self.rows for key in row)
        return [key for key in columns if key not in metrics and "/" not in key and key not in RUN_FACTS]


def summary(group: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with mean, std (of the sample), min, max and interval of every number over repetitions of a job."""
    functions: dict[str, Callable[[list[Any]], Any]]
    functions = {"mean": statistics.mean, "std": statistics.stdev, "min": min, "max": max}
    if not over_folds(group):
        functions |= {
            "ci95_low": lambda values: t_interval(values)[0],
            "ci95_high": lambda values: t_interval(values)[1],
        }
    columns = {key: [row.get(key) for row in group] for key in group[0] if key not in ("job", "status", *REPEATED)}
    rows = []
    for status, function in functions.items():
        row: dict[str, Any] = {"job": f"{len(group)} jobs", "status": status}
        for key, values in columns.items():
            if all(isinstance(value, int | float) for value in values):
                row[key] = function(values)
            elif len(set(values)) == 1:
                row[key] = values[0]
        rows.append(row)
    return rows


def spread_text(group: list[dict[str, Any]], name: str) -> str:
    """`0.9420, 95 % CI 0.9358..0.9482, std 0.0050 [0.9346..0.9477]`; over folds without the interval."""
    scores = [float(row[name]) for row in group]
    interval = "" if over_folds(group) else " 95 % CI {:.4f}..{:.4f},".format(*t_interval(scores))
    limits = f"[{min(scores):.4f}..{max(scores):.4f}]"
    return f"{statistics.mean(scores):.4f},{interval} std {statistics.stdev(scores):.4f} {limits}"


def over_folds(group: list[dict[str, Any]]) -> bool:
    return len({row.get("data.fold") for row in group}) > 1


# ------------------------------------------------------------------------------------------------------- Student's t


def t_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the mean of at least two independent values."""
    standard_error = statistics.stdev(values) / math.sqrt(len(values))
    half_width = t_quantile(confidence, len(values) - 1) * standard_error
    return statistics.mean(values) - half_width, statistics.mean(values) + half_width


def t_quantile(confidence: float, df: int) -> float:
    """The t with P(|T| <= t) = confidence, by bisection."""
    low, high = 0.0, 1.0
    while t_tails(high, df) > 1 - confidence:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_tails(middle, df) > 1 - confidence else (low, middle)
    return high


def t_tails(t: float, df: int) -> float:
    """P(|T| > t), t >= 0, for whole degrees of freedom: the closed sums 26.7.3 and 26.7.4 of Abramowitz & Stegun."""
    angle, odd = math.atan(t / math.sqrt(df)), df % 2
    term = math.cos(angle) if odd else 1.0
    total = term if df > 1 else 0.0
    for k in range(2 + odd, df - 1, 2):
        term *= (k - 1) / k * math.cos(angle) ** 2
        total += term
    inside = math.sin(angle) * total
    return max(0.0, 1 - (2 / math.pi * (angle + inside) if odd else inside))


# -------------------------------------------------------------------------------------------------------------- texts


def number_text(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if name.endswith("seconds") else f"{value:.4f}"


def short_names(keys: list[str]) -> dict[str, str]:
    """`lr` for `optimizer.lr`, where no other key ends like it."""
    last = [key.split(".")[-1] for key in keys]
    return {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}


REPEATED = ("seed", "data.fold")
RUN_FACTS = {"epochs", "steps", "fit_seconds", "soup_epochs", "temperature"}
