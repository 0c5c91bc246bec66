"""The best weights of a training, and what they are worth: metrics of val and test, and the evidence of these.

They are in best.ckpt, or the moving average, or the last ones; or else the soup of several epochs.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from src.data.module import ImageDataModule
from src.evaluation.evidence import Evidence
from src.runs.checkpoint import AtomicCheckpointIO, load_checkpoint
from src.runs.record import CALIBRATION_KEY, CHECKPOINT_KEY
from src.training.averaging import MovingAverage, SoupCheckpoint, StateDict, average_of
from src.training.callbacks.every_batch import find_callback
from src.training.callbacks.progress_bar import ProgressBar
from src.training.callbacks.readable_images import RequireReadableImages
from src.training.callbacks.unreadable_images import UnreadableImages
from src.training.embeddings import EmbeddingCollector, Embeddings
from src.training.evidence import EvidenceCollector
from src.training.sharding import load_sharded
from src.training.task import FineTuneTask

log = logging.getLogger(__name__)

Measurement = tuple[dict[str, float], Evidence]


@dataclass(frozen=True)
class Measured:
    """Of the best weights. `splits`: evidence of val and, if it is there, test. `calibration`: what val has taught the
    task. `embeddings`: of val; empty where no logger shows them.
    """

    metrics: dict[str, float]
    splits: list[Evidence]
    calibration: dict[str, float]
    embeddings: Embeddings


def measure_best(task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer, test: bool) -> Measured:
    """Measure the best checkpoint, or its soup, or the last weights if no checkpoint was kept; every process calls it.

    They stay in `task`. What val teaches it, such as a temperature, is put into best.ckpt.
    """
    load_best(task, trainer)
    datamodule.frozen_network = None  # the whole network is measured, on images
    table = datamodule.table
    collector, embeddings = find_callback(trainer, EvidenceCollector), find_callback(trainer, EmbeddingCollector)
    assert collector is not None and embeddings is not None  # src/build/trainer.py adds them

    def measure_val() -> Measurement:
        trainer.validate(task, datamodule=datamodule, verbose=False)
        return task.logged_metrics(), collector.take("val", table)

    metrics, val = try_soup(measure_val(), task, trainer, measure_val)
    calibration = task.calibrate(val) if len(val) else {}
    keep_best(trainer, task.monitor, None, calibration)
    splits = [val]
    if test and "test" in table.splits:
        trainer.test(task, datamodule=datamodule, verbose=False)
        metrics |= task.logged_metrics()
        splits.append(collector.take("test", table))
    for evidence in splits:
        metrics |= {f"{evidence.split}/{name}": value for name, value in further_metrics(task, evidence).items()}
    if "temperature" in calibration:
        metrics["temperature"] = calibration["temperature"]
    return Measured(metrics, splits, calibration, embeddings.take())


def further_metrics(task: FineTuneTask, evidence: Evidence) -> dict[str, float]:
    """Those that are measured of final weights alone; none where too few images can be measured."""
    return task.further_metrics(evidence) if len(evidence) and evidence.measurable else {}


def measure_split(
    task: FineTuneTask, device: torch.device, datamodule: ImageDataModule, split: str
) -> tuple[dict[str, float], Evidence]:
    """The metrics by name, without the split's, and the evidence of each image.

    `split` may be `all`: every image there is.
    """
    collector = EvidenceCollector()
    trainer = Trainer(
        accelerator={"cuda": "gpu"}.get(device.type, device.type),
        devices=1,
        logger=False,
        callbacks=[RequireReadableImages(datamodule.table.root), ProgressBar(), UnreadableImages(), collector],
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.test(task, dataloaders=datamodule.loader(split), verbose=False)
    metrics = {name.removeprefix("test/"): value for name, value in task.logged_metrics().items()}
    evidence = collector.take(split, datamodule.table)
    return metrics | further_metrics(task, evidence), evidence


def find_best(trainer: Trainer, monitor: str) -> ModelCheckpoint | None:
    """The callback that keeps best.ckpt."""
    kept = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor == monitor]
    return next((callback for callback in kept if not isinstance(callback, SoupCheckpoint)), None)


def best_file(trainer: Trainer, monitor: str) -> Path | None:
    """best.ckpt, if it is there."""
    kept = find_best(trainer, monitor)
    return Path(kept.best_model_path) if kept is not None and Path(kept.best_model_path).is_file() else None


def load_best(task: FineTuneTask, trainer: Trainer) -> None:
    """Put the best weights into `task`: those of best.ckpt, or else the moving average, or else the last ones."""
    weights = None
    last = trainer.strategy.lightning_module_state_dict()  # sharded weights are gathered by all processes
    if trainer.is_global_zero:
        if (file := best_file(trainer, task.monitor)) is not None:
            weights = load_checkpoint(file)[0]["state_dict"]
        else:
            moving = find_callback(trainer, MovingAverage)
            weights = last if moving is None else moving.average
    load_everywhere(weights, task, trainer)


def load_everywhere(weights: StateDict | None, task: FineTuneTask, trainer: Trainer) -> None:
    """Weights that the first process has read: the other nodes may not see its disk."""
    if task.is_sharded:
        load_sharded(weights or {}, task)
        return
    task.load_state_dict(trainer.strategy.broadcast(cast(StateDict, weights)), strict=False)


def keep_best(trainer: Trainer, monitor: str, weights: StateDict | None, calibration: dict[str, float]) -> None:
    """Put other weights (None = as they are), or what was learnt from val, into best.ckpt."""
    if (weights or calibration) and trainer.is_global_zero and (file := best_file(trainer, monitor)) is not None:
        checkpoint, _ = load_checkpoint(file)
        checkpoint["state_dict"] = weights or checkpoint["state_dict"]
        if calibration:
            checkpoint[CHECKPOINT_KEY][CALIBRATION_KEY] = calibration
        AtomicCheckpointIO().save_checkpoint(checkpoint, file)


def try_soup(
    best: Measurement, task: FineTuneTask, trainer: Trainer, measure_val: Callable[[], Measurement]
) -> Measurement:
    """Put the soup in the place of the best epoch, in `task` and in best.ckpt, unless val is worse with it.

    Returns metrics and evidence of val of the weights that stay: `best`, if there is nothing to average.
    """
    monitor = task.monitor
    soup = find_callback(trainer, SoupCheckpoint)
    kept = find_best(trainer, monitor)
    files = trainer.strategy.broadcast(soup.files() if soup is not None else [])
    if kept is None or len(files) < 2:
        return best
    load_everywhere(average_of(files) if trainer.is_global_zero else None, task, trainer)
    metrics, val = measure_val()
    mixed = trainer.strategy.lightning_module_state_dict()  # by all processes
    alone = best[0][monitor]
    better = metrics[monitor] >= alone if kept.mode == "max" else metrics[monitor] <= alone
    log.info(
        "Soup of the %d best epochs: %s %.4f, the best alone %.4f: %s.",
        len(files), monitor, metrics[monitor], alone, "kept" if better else "not kept",
    )  # fmt: skip
    if better:
        keep_best(trainer, monitor, mixed, {})
    else:
        load_best(task, trainer)
        metrics, val = measure_val()
    return {**metrics, "soup_epochs": len(files) if better else 0}, val
