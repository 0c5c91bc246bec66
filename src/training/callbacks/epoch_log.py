"""What each epoch was like: a line in the log, and a row of epochs.csv."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from src.evaluation.best_epoch import is_better
from src.files.csv_files import read_csv_file, write_csv_file
from src.files.whole_files import replaced
from src.training.task import FineTuneTask

log = logging.getLogger(__name__)


class EpochLog(Callback):
    """One log line per epoch, with a star for the best value so far of the monitored metric, and a line of a csv file.

    The file has the columns epoch and phase (both from 1), lr, seconds, and every metric.
    """

    def __init__(self, mode: str, output: str | None = None) -> None:
        self.mode = mode
        self.output = Path(output) if output is not None else None
        self.best: float | None = None

    def on_train_start(self, trainer: Trainer, task: LightningModule) -> None:
        self.start = time.perf_counter()  # of what is left of an epoch, in a run that goes on within it
        if self.output is not None and trainer.is_global_zero:
            write_epochs(self.output, read_csv_file(self.output)[: trainer.current_epoch])

    def on_train_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, task: LightningModule) -> None:
        assert isinstance(task, FineTuneTask)
        metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
        shown = [name for name in ("train/loss", "val/loss", task.monitor) if name in metrics]
        values = "  ".join(f"{name} {metrics[name]:.4f}" for name in dict.fromkeys(shown))
        current, better = metrics.get(task.monitor), False
        if current is not None and math.isfinite(current):
            better = self.best is None or is_better(current, self.best, self.mode)
            self.best = current if better else self.best
        epoch = f"epoch {trainer.current_epoch + 1:{len(str(task.total_epochs))}}/{task.total_epochs}"
        rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        seconds = time.perf_counter() - self.start
        log.info("%s  %s%s  lr %.1e  %.1f s", epoch, values, " *" if better else "  ", rate, seconds)
        if self.output is not None and trainer.is_global_zero:
            facts = {"epoch": trainer.current_epoch + 1, "phase": task.phase_index + 1, "lr": f"{rate:.4g}"}
            facts |= {"seconds": f"{seconds:.2f}"}
            numbers = {name: f"{value:.6g}" for name, value in metrics.items()}
            write_epochs(self.output, [*read_csv_file(self.output), facts | numbers])

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        best = state_dict["best"]
        if best is not None and not isinstance(best, int | float):
            raise ValueError(f"the best value so far is {best!r}")
        self.best = best


def write_epochs(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with replaced(file) as part:
        write_csv_file(part, list(dict.fromkeys(name for row in rows for name in row)), rows)
