"""The best weights of a training: in best.ckpt, or the moving average, or the last ones; and the soup of several."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import cast

from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from src.evaluation.evidence import Evidence
from src.runs.checkpoint import load_checkpoint, rewrite
from src.training.averaging import MovingAverage, SoupCheckpoint, StateDict, average_of
from src.training.callbacks.every_batch import find_callback
from src.training.sharding import load_sharded
from src.training.task import FineTuneTask

log = logging.getLogger(__name__)


Measurement = tuple[dict[str, float], Evidence]


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
        rewrite(file, weights, calibration)


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
