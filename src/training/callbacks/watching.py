"""What watches a run: progress on the terminal, one line per epoch, images for TensorBoard."""

import logging
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities import rank_zero_only
from rich.progress import Progress
from torch import Tensor

from src.cli.progress import progress_bar
from src.data.dataset import Batch
from src.evaluation.confusion import count_confusions
from src.files.csv_files import CsvWriter, read_csv_file
from src.reports.confusion_matrix import draw_confusions
from src.reports.image_grid import draw_images
from src.tasks.classification.task import ClassificationTask
from src.training.callbacks.unreadable_images import (
    UnreadableImages as UnreadableImages,  # checkpoints of earlier runs name it here
)
from src.training.processes import gathered
from src.training.task import FineTuneTask
from src.training.tensorboard import add_figure, find_tensorboards

log = logging.getLogger(__name__)


class ProgressBar(Callback):
    """A bar for the batches of the current epoch, on terminals only; it leaves nothing behind."""

    def __init__(self) -> None:
        self.progress: Progress | None = None

    def show(self, description: str, batches: int | float) -> None:
        self.hide()
        if not sys.stderr.isatty():
            return
        self.progress = progress_bar()
        self.progress.start()
        self.bar = self.progress.add_task(description, total=batches, speed="", loss="")
        self.start, self.seen = time.perf_counter(), 0

    def advance(self, batch: Batch, loss: Any = None) -> None:
        if self.progress is None:
            return
        self.seen += len(batch["label"])
        speed = f"{self.seen / (time.perf_counter() - self.start):.0f} img/s"
        self.progress.update(self.bar, advance=1, speed=speed)
        if loss is not None:
            self.progress.update(self.bar, loss=f"loss {loss:.4f}")

    def hide(self) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, task: LightningModule) -> None:
        """A run that goes on within an epoch has no start of that epoch."""
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        self.on_train_epoch_start(trainer, task)
        if self.progress is not None:
            self.progress.update(self.bar, completed=done)

    @rank_zero_only
    def on_train_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        assert isinstance(task, FineTuneTask)
        self.show(f"epoch {trainer.current_epoch + 1}/{task.total_epochs}", trainer.num_training_batches)

    @rank_zero_only
    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int) -> None:
        # Reading the loss makes a GPU wait, so not at every step.
        self.advance(batch, outputs["loss"].item() if outputs and i % 10 == 0 else None)

    @rank_zero_only
    def on_validation_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        if not trainer.sanity_checking:
            self.show("validate", sum(trainer.num_val_batches))

    @rank_zero_only
    def on_validation_batch_end(
        self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int, loader: int = 0
    ) -> None:
        self.advance(batch)

    @rank_zero_only
    def on_validation_epoch_end(self, trainer: Trainer, task: LightningModule) -> None:
        self.hide()

    @rank_zero_only
    def on_test_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        self.show("test", sum(trainer.num_test_batches))

    @rank_zero_only
    def on_test_batch_end(
        self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int, loader: int = 0
    ) -> None:
        self.advance(batch)

    @rank_zero_only
    def on_test_epoch_end(self, trainer: Trainer, task: LightningModule) -> None:
        self.hide()

    def on_exception(self, trainer: Trainer, task: LightningModule, exception: BaseException) -> None:
        self.hide()

    def on_train_end(self, trainer: Trainer, task: LightningModule) -> None:
        self.hide()


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
            sign = 1 if self.mode == "max" else -1
            better = self.best is None or sign * current > sign * self.best
            self.best = current if better else self.best
        epoch = f"epoch {trainer.current_epoch + 1:{len(str(task.total_epochs))}}/{task.total_epochs}"
        rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        seconds = time.perf_counter() - self.start
        log.info("%s  %s%s  lr %.1e  %.1f s", epoch, values, " *" if better else "  ", rate, seconds)
        if self.output is not None and trainer.is_global_zero:
            facts = {"epoch": trainer.current_epoch + 1, "phase": task.phase_index + 1, "lr": f"{rate:.4g}"}
            facts |= {"seconds": f"{seconds:.2f}"}
            numbers = {name: f"{value:.6g}" for name, value in metrics.items() if not name.endswith("_step")}
            numbers.pop("lr", None)
            write_epochs(self.output, [*read_csv_file(self.output), facts | numbers])

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        best = state_dict["best"]
        if best is not None and not isinstance(best, int | float):
            raise ValueError(f"the best value so far is {best!r}")
        self.best = best


def write_epochs(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    part = file.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as lines:
        CsvWriter(lines, list(dict.fromkeys(name for row in rows for name in row))).write_all(rows)
    part.replace(file)


class PhaseEarlyStopping(EarlyStopping):
    """Ends the current phase when the monitored metric no longer improves; the next phase counts afresh."""

    phase_index = 0

    def on_train_start(self, trainer: Trainer, task: LightningModule) -> None:
        assert isinstance(task, FineTuneTask)
        if self.phase_index != task.phase_index:
            fresh = EarlyStopping(monitor=self.monitor, mode=self.mode)
            self.phase_index, self.wait_count, self.best_score = task.phase_index, 0, fresh.best_score

    def on_train_end(self, trainer: Trainer, task: LightningModule) -> None:
        if trainer.should_stop:
            log.info("%s has not improved for %d epochs: this phase ends.", self.monitor, self.wait_count)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "phase_index": self.phase_index}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        counts = [state_dict[key] for key in ("wait_count", "stopped_epoch", "phase_index")]
        if not all(isinstance(count, int) for count in counts) or not isinstance(state_dict["best_score"], Tensor):
            raise ValueError("counts of early stopping are no numbers")
        super().load_state_dict({**state_dict, "patience": self.patience})  # which a resumed run may have changed
        self.phase_index = state_dict["phase_index"]


class ImageGrid(Callback):
    """Shows the first training images as the network gets them, with their labels, in TensorBoard."""

    def __init__(self, images: int = 32) -> None:
        self.images = images

    @rank_zero_only
    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int) -> None:
        if i or trainer.current_epoch or not find_tensorboards(trainer):
            return
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        rows = batch["index"][: self.images].cpu().numpy()
        if "image" in batch:
            images_BCHW = batch["image"][: self.images].cpu()
        else:  # features: their images have to be read for this, and may not be there any more
            images = datamodule.image_dataset(rows, training=True)
            read = [item for item in (images[0, n] for n in range(len(rows))) if "image" in item]
            images_BCHW, rows = [item["image"] for item in read], [item["index"] for item in read]
        labels = [datamodule.table.label_text(int(row)) for row in rows]
        if labels:
            add_figure(trainer, "train/images", lambda: draw_images(images_BCHW, labels))


class ConfusionMatrixPlot(Callback):
    """Draws val's confusion matrix in TensorBoard, now and then and at the end of each phase.

    That of test is drawn with the report (src/training/measure.py).
    """

    def __init__(self, every_n_epochs: int = 5) -> None:
        self.every_n_epochs = every_n_epochs
        self.answers: list[Tensor] = []  # class and answer of each image, int64 [2, B]

    def on_validation_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        self.answers = []

    def on_validation_batch_end(
        self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int, loader: int = 0
    ) -> None:
        if isinstance(task, ClassificationTask) and outputs is not None and find_tensorboards(trainer):
            self.answers.append(torch.stack([batch["label"], outputs["outputs"].argmax(dim=1)]))

    def on_train_epoch_end(self, trainer: Trainer, task: LightningModule) -> None:
        """Every process gives its answers; the first one draws."""
        epoch = trainer.current_epoch + 1
        if not isinstance(task, ClassificationTask) or not find_tensorboards(trainer):
            return
        if epoch % self.every_n_epochs and epoch != trainer.max_epochs:
            return
        answers = gathered([part_2B.cpu().numpy() for part_2B in self.answers])
        if answers and trainer.is_global_zero:
            labels_N, predicted_N = np.concatenate(answers, axis=1)
            confusions = count_confusions(predicted_N, labels_N, len(task.class_names))
            add_figure(trainer, "val/confusion", lambda: draw_confusions(confusions, task.class_names))
