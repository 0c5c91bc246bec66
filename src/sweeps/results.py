"""What the jobs of a sweep have left in their folders: a row of settings and metrics for each."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from src.sweeps.jobs import JOB_FILE, read_row
from src.sweeps.repetitions import REPEATED, Row

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
