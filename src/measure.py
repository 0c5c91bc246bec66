"""What a finished training is worth: val and test metrics of its best weights, and the files of report/."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import cast

from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig

from src.averaging import MovingAverage, SoupCheckpoint, StateDict, average_of
from src.callbacks import OutputCollector
from src.checkpoint import AtomicCheckpointIO, load_checkpoint
from src.data.base import ImageDataModule
from src.drawing import draw_confusion_matrix
from src.report import scalars, write_class_table, write_predictions
from src.tasks.base import FineTuneTask
from src.tasks.classification import ClassificationTask

log = logging.getLogger("src.train")

Metrics = dict[str, float]


def measure_best(cfg: DictConfig, task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer) -> Metrics:
    """val and test metrics of the best checkpoint, or of its soup, or of the last weights if no checkpoint was kept."""
    load_best(task, trainer, cfg.task.monitor)
    datamodule.frozen_network = None  # the whole network is measured, on pictures
    report_dir, collector = Path(cfg.output_dir) / "report", OutputCollector()
    if trainer.is_global_zero:
        report_dir.mkdir(exist_ok=True)
    trainer.callbacks.append(collector)  # type: ignore[attr-defined]

    def measure_val() -> Metrics:
        """Not into the curves: the best checkpoint is not one more epoch. Writes the predictions."""
        loggers, trainer.loggers = trainer.loggers, []
        trainer.validate(task, datamodule=datamodule, verbose=False)
        trainer.loggers = loggers
        outputs = collector.take()
        if trainer.is_global_zero:
            write_predictions(report_dir / "val_predictions.csv", datamodule.table, task, *outputs)
        return scalars(trainer.callback_metrics)

    metrics = measure_val()
    metrics |= try_soup(metrics, cfg, task, trainer, measure_val)
    if cfg.test and "test" in datamodule.table.splits:
        trainer.test(task, datamodule=datamodule, verbose=False)
        metrics |= scalars(trainer.callback_metrics)
        outputs = collector.take()
        if trainer.is_global_zero:
            write_predictions(report_dir / "test_predictions.csv", datamodule.table, task, *outputs)
        write_test_report(task, trainer.is_global_zero, report_dir)
    trainer.callbacks.remove(collector)  # type: ignore[attr-defined]
    return metrics


def find_best(trainer: Trainer, monitor: str) -> ModelCheckpoint | None:
    """The callback that keeps best.ckpt."""
    kept = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor == monitor]
    return next((callback for callback in kept if not isinstance(callback, SoupCheckpoint)), None)


def load_best(task: FineTuneTask, trainer: Trainer, monitor: str) -> None:
    """Put the best weights into `task`: those of best.ckpt, or else the moving average, or else the last ones."""
    best, weights = find_best(trainer, monitor), None
    if trainer.is_global_zero:
        if best is not None and Path(best.best_model_path).is_file():
            weights = load_checkpoint(Path(best.best_model_path))["state_dict"]
        else:
            averages = [c.average for c in trainer.callbacks if isinstance(c, MovingAverage)]  # type: ignore[attr-defined]
            weights = averages[0] if averages else task.state_dict()
    load_everywhere(weights, task, trainer)


def load_everywhere(weights: StateDict | None, task: FineTuneTask, trainer: Trainer) -> None:
    """Weights that the first process has read: the other nodes may not see its disk."""
    task.load_state_dict(trainer.strategy.broadcast(cast(StateDict, weights)), strict=False)


def try_soup(
    best: Metrics, cfg: DictConfig, task: FineTuneTask, trainer: Trainer, measure_val: Callable[[], Metrics]
) -> Metrics:
    """Put the average of the best epochs in the place of the best one, in `task` and in best.ckpt, if val allows it."""
    soup = next((c for c in trainer.checkpoint_callbacks if isinstance(c, SoupCheckpoint)), None)
    kept = find_best(trainer, cfg.task.monitor)
    files = trainer.strategy.broadcast(soup.files() if soup is not None else [])
    if kept is None or len(files) < 2:
        return {}
    load_everywhere(average_of(files) if trainer.is_global_zero else None, task, trainer)
    metrics, monitor = measure_val(), cfg.task.monitor
    better = metrics[monitor] >= best[monitor] if cfg.task.mode == "max" else metrics[monitor] <= best[monitor]
    log.info(
        "Soup of the %d best epochs: %s %.4f, the best alone %.4f: %s.",
        len(files), monitor, metrics[monitor], best[monitor], "kept" if better else "not kept",
    )  # fmt: skip
    if not better:
        load_best(task, trainer, monitor)
        metrics = measure_val()
    elif trainer.is_global_zero:
        file = Path(kept.best_model_path)
        AtomicCheckpointIO().save_checkpoint({**load_checkpoint(file), "state_dict": task.state_dict()}, file)
    return {**metrics, "soup_epochs": len(files) if better else 0}


def write_test_report(task: FineTuneTask, write: bool, folder: Path) -> None:
    """Every process computes the confusion matrix, since its counts are summed over all; one writes it."""
    if not isinstance(task, ClassificationTask):
        return
    matrix_KK = task.test_confusion.compute().cpu().numpy()
    if not write:
        return
    write_class_table(folder / "test_classes.csv", matrix_KK, task.class_names)
    draw_confusion_matrix(matrix_KK, task.class_names).save(folder / "test_confusion.png")
