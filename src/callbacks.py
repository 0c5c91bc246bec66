"""What watches a run: progress on the terminal, one line an epoch, damaged files, pictures for TensorBoard."""

import csv
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image
from rich.progress import Progress

from src.csv_files import CsvWriter, read_csv_file
from src.data.dataset import Batch
from src.drawing import draw_confusion_matrix, draw_images
from src.progress import progress_bar
from src.tasks.base import FineTuneTask
from src.tasks.classification import ClassificationTask

log = logging.getLogger("src.train")


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
    """One log line an epoch, with a star for the best value so far of the monitored metric, and a line of a csv file.

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
        if current is not None:
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
        self.best = state_dict["best"]


def write_epochs(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    part = file.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as lines:
        CsvWriter(lines, list(dict.fromkeys(name for row in rows for name in row))).write_all(rows)
    part.replace(file)


class UnreadableImages(Callback):
    """Says once for each damaged picture that it is skipped; lists them with reasons in a csv file, if one is given."""

    def __init__(self, output: str | None = None) -> None:
        self.output = Path(output) if output is not None else None
        self.known: set[str] = set()
        self.told = 0

    def setup(self, trainer: Trainer, task: LightningModule, stage: str) -> None:
        self.read_list()

    def read_list(self) -> None:
        if self.output is not None and self.output.exists():
            with self.output.open(newline="", encoding="utf-8") as file:
                self.known |= {row["path"] for row in csv.DictReader(file)}

    def note(self, batch: Batch) -> None:
        for path, reason in batch["unreadable"]:
            if path not in self.known:
                self.read_list()  # another process may have met it before
            if path in self.known:
                continue
            self.known.add(path)
            log.warning("Skipped, cannot be read: %s (%s)", path, reason)
            if self.output is None:
                continue
            new = not self.output.exists()
            with self.output.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                if new:
                    writer.writerow(["path", "reason"])
                writer.writerow([path, reason])

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int) -> None:
        self.note(batch)

    def on_validation_batch_end(
        self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int, loader: int = 0
    ) -> None:
        self.note(batch)

    def on_test_batch_end(
        self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int, loader: int = 0
    ) -> None:
        self.note(batch)

    def on_fit_end(self, trainer: Trainer, task: LightningModule) -> None:
        if len(self.known) > self.told and trainer.is_global_zero:
            self.told = len(self.known)
            log.warning("%d pictures cannot be read and were skipped; %s lists them.", len(self.known), self.output)


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
        super().load_state_dict({**state_dict, "patience": self.patience})  # which a resumed run may have changed
        self.phase_index = state_dict["phase_index"]


class ImageGrid(Callback):
    """Shows the first training pictures as the network gets them, with their labels, in TensorBoard."""

    def __init__(self, images: int = 32) -> None:
        self.images = images

    @rank_zero_only
    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int) -> None:
        if i or trainer.current_epoch:
            return
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        rows = batch["index"][: self.images].cpu().numpy()

        def draw() -> Image.Image:
            if "image" in batch:
                images_BCHW = batch["image"][: self.images].cpu()
            else:  # features: their pictures have to be read for this
                pictures = datamodule.image_dataset(rows, training=True)
                images_BCHW = torch.stack([pictures[trainer.current_epoch, i]["image"] for i in range(len(rows))])
            return draw_images(images_BCHW, [datamodule.table.label_text(int(row)) for row in rows])

        add_figure(trainer, "train/images", draw)


class ConfusionMatrixPlot(Callback):
    """Draws the confusion matrix in TensorBoard: val now and then and at the end of each phase, and test."""

    def __init__(self, every_n_epochs: int = 5) -> None:
        self.every_n_epochs = every_n_epochs

    # Every process computes, since the counts are summed over all; the first one draws.
    def on_train_epoch_end(self, trainer: Trainer, task: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if isinstance(task, ClassificationTask) and (epoch % self.every_n_epochs == 0 or epoch == trainer.max_epochs):
            matrix_KK = task.val_confusion.compute().cpu().numpy()
            if trainer.is_global_zero:
                add_figure(trainer, "val/confusion", lambda: draw_confusion_matrix(matrix_KK, task.class_names))

    def on_test_epoch_end(self, trainer: Trainer, task: LightningModule) -> None:
        if isinstance(task, ClassificationTask):
            matrix_KK = task.test_confusion.compute().cpu().numpy()
            if trainer.is_global_zero:
                add_figure(trainer, "test/confusion", lambda: draw_confusion_matrix(matrix_KK, task.class_names))


class OutputCollector(Callback):
    """Keeps what the network says about each picture of an evaluation: rows of the image table [N], outputs [N, K]."""

    def __init__(self) -> None:
        self.batches: list[dict[str, npt.NDArray[Any]]] = []

    def on_validation_batch_end(
        self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int, loader: int = 0
    ) -> None:
        self.keep(outputs)

    def on_test_batch_end(
        self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int, loader: int = 0
    ) -> None:
        self.keep(outputs)

    def keep(self, outputs: Any) -> None:
        if outputs is not None:
            self.batches.append({name: value.cpu().numpy() for name, value in outputs.items()})

    def take(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Of all processes, by row; every process has to call it."""
        batches, self.batches = gathered(self.batches), []
        if not batches:  # trainer.limit_val_batches=0
            return np.empty(0, dtype=np.int64), np.empty((0, 0), dtype=np.float32)
        rows_N = np.concatenate([batch["index"] for batch in batches])
        order_N = np.argsort(rows_N, kind="stable")
        return rows_N[order_N], np.concatenate([batch["outputs"] for batch in batches])[order_N]


def gathered(batches: list[dict[str, npt.NDArray[Any]]]) -> list[dict[str, npt.NDArray[Any]]]:
    """Of all processes, on every one of them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return batches
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, batches)
    return [batch for part in parts for batch in part]


def add_figure(trainer: Trainer, name: str, draw: Callable[[], Image.Image]) -> None:
    """Draw into TensorBoard; without it, nothing is drawn."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, np.asarray(draw()), trainer.global_step, dataformats="HWC")
