"""One trial: a process that trains, one after the other for its folds, and what it leaves meanwhile and at the end."""

import json
import math
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from src.cli.quoting import quoted
from src.cli.sweep_job import JOB_OPTION, LOG_LINE
from src.files.csv_files import read_csv_file
from src.settings.errors import ConfigError
from src.sweeps.search.composing import Plan

GRACE_SECONDS = 60  # for a process that was told to end, which it does after a step
ERROR_FILE, OUTPUT_FILE = "error.txt", "output.log"
DIVERGED = "not finite"  # in what a run says of a loss that is none


class TrialFailed(ConfigError):
    """It cannot be trained, or has left no result: no reason to end the search."""


@dataclass
class Trial:
    """`compose`: makes settings of overrides. `results`: of the folds that have ended. `began`: seconds, monotonic."""

    number: int
    values: dict[str, str]
    overrides: list[str]
    folder: Path
    plan: Plan
    compose: Callable[[list[str]], DictConfig]
    environ: Mapping[str, str]
    results: list[float] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    told_at: float | None = None
    size: tuple[int, int] | None = None  # of epochs.csv, when it was read

    @property
    def run_dir(self) -> Path:
        """Of the fold that is trained, or of the only run."""
        return self.folder if self.plan.folds == 1 else self.folder / f"fold_{len(self.results)}"

    def start(self) -> None:
        """From the beginning, or where an earlier process has left it.

        Raises TrialFailed if its settings cannot be, ConfigError if an earlier process is still at it.
        """
        self.began = time.monotonic()
        (self.folder / ERROR_FILE).unlink(missing_ok=True)
        while (
            len(self.results) < self.plan.folds - 1
            and (value := result_of(self.run_dir, self.plan.monitor)) is not None
        ):
            self.results.append(value)
        self.start_run()

    def start_run(self) -> None:
        run_dir = self.run_dir
        run_dir.mkdir(parents=True, exist_ok=True)
        require_free(run_dir)
        resume = "auto" if (run_dir / "checkpoints" / "last.ckpt").exists() else "null"
        fold = [f"data.fold={len(self.results)}"] if self.plan.folds > 1 else []
        own = [f"output_dir={quoted(str(run_dir.absolute()))}", "test=false", f"resume={resume}", *fold]
        try:
            settings = self.compose([*self.overrides, *own])
        except ConfigError as error:
            raise TrialFailed(str(error)) from error
        file = run_dir / "config.yaml"
        file.write_text(OmegaConf.to_yaml(settings), encoding="utf-8")
        typed = [sys.executable, "-m", "src.train", JOB_OPTION, str(file)]
        # Not of our group: Ctrl-C is for the search, which then tells its trials to save what they have.
        with (run_dir / OUTPUT_FILE).open("wb") as output:
            self.process = subprocess.Popen(
                typed, stdout=subprocess.DEVNULL, stderr=output, stdin=subprocess.DEVNULL, env=dict(self.environ),
                start_new_session=True,
            )  # fmt: skip

    def new_values(self) -> dict[int, float]:
        """The best value until each step, if there is a new one; a step is an epoch, and those of earlier folds count.

        Of several folds it is the mean of the results so far and of the best epoch in the present fold.
        """
        file = self.run_dir / "epochs.csv"
        try:
            facts = file.stat()
        except OSError:
            return {}
        if self.size == (facts.st_size, facts.st_mtime_ns):
            return {}
        self.size = (facts.st_size, facts.st_mtime_ns)
        better, best, values = max if self.plan.mode == "max" else min, None, {}
        for row in read_csv_file(file):
            value = float(row.get(self.plan.monitor) or "nan")
            if math.isfinite(value):
                best = value if best is None else better(best, value)
            if best is not None:
                step = len(self.results) * self.plan.epochs + int(row["epoch"])
                values[step] = statistics.fmean([*self.results, best])
        return values

    def end(self, now: bool = False) -> None:
        """Tell the process to end, and after some time make it; it saves where it is."""
        assert self.process is not None
        if self.told_at is None:
            self.told_at = time.monotonic()
            self.process.terminate()
        elif now or time.monotonic() - self.told_at > GRACE_SECONDS:
            self.process.kill()

    def next_fold(self) -> bool:
        """After a process that has ended well; whether there is another fold, which then is trained.

        Raises TrialFailed if it has left no result.
        """
        value = result_of(self.run_dir, self.plan.monitor)
        if value is None:
            raise TrialFailed(f"metrics.json has no number as {self.plan.monitor}.")
        self.results.append(value)
        self.size = None
        if len(self.results) < self.plan.folds:
            self.start_run()
            return True
        return False

    def mean(self) -> float:
        """Over the folds."""
        return statistics.fmean(self.results)

    def remove_checkpoints(self) -> None:
        """Of a trial that goes on no more."""
        for run_dir in (self.folder, *self.folder.glob("fold_*")):
            shutil.rmtree(run_dir / "checkpoints", ignore_errors=True)

    def error(self) -> str:
        """What a process said that has failed."""
        assert self.process is not None
        said = (self.run_dir / OUTPUT_FILE).read_text(encoding="utf-8", errors="backslashreplace")
        lines = [line for line in said.splitlines() if line.strip() and not LOG_LINE.match(line)]
        status = self.process.returncode
        if status < 0:  # by the system, when there is no memory left, or by somebody
            lines.insert(0, f"It was killed by {signal.Signals(-status).name}.")
        return "\n".join(lines) or f"It ended with exit status {status}."


def result_of(run_dir: Path, monitor: str) -> float | None:
    """The monitored metric of a run that has ended; None if it has not, or if it is no number."""
    with suppress(OSError, ValueError):
        value = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8")).get(monitor)
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
    return None


def require_free(run_dir: Path) -> None:
    """Raises ConfigError if a process of a search that was killed still trains here."""
    from filelock import FileLock, Timeout

    if not (run_dir / ".lock").exists():
        return
    try:
        with FileLock(run_dir / ".lock", timeout=0):
            pass
    except Timeout:
        raise ConfigError(
            f"'{run_dir}' is still being trained, by a process of an earlier search: wait or end it."
        ) from None
