"""What a finished training is worth: val and test metrics of its best weights, and the files of report/."""

import json
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig

from src.data.module import ImageDataModule
from src.evaluation.calibration import calibration_metrics, fit_temperature
from src.evaluation.confusion import count_confusions
from src.files.csv_files import read_csv_file
from src.reports.drawing import draw_confusions
from src.reports.model_card import write_model_card
from src.reports.report import write_report
from src.reports.run import RunReport
from src.runs.checkpoint import AtomicCheckpointIO, load_checkpoint
from src.runs.results import SplitOutputs, finite_outputs, scalars, write_class_table, write_json, write_predictions
from src.tasks.classification.task import ClassificationTask
from src.training.averaging import MovingAverage, SoupCheckpoint, StateDict, average_of
from src.training.callbacks.watching import OutputCollector, add_figure
from src.training.embeddings import EmbeddingCollector
from src.training.sharding import load_sharded
from src.training.task import CALIBRATION_KEY, CHECKPOINT_KEY, FineTuneTask

log = logging.getLogger(__name__)

Metrics = dict[str, float]


def measure_best(
    cfg: DictConfig, task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer
) -> tuple[Metrics, list[SplitOutputs]]:
    """val and test metrics of the best checkpoint, or of its soup, or of the last weights if no checkpoint was kept.

    Its temperature is fitted on val and put into best.ckpt. Also returns the outputs for val and, if it is there, test.
    """
    load_best(task, trainer, cfg.task.monitor)
    datamodule.frozen_network = None  # the whole network is measured, on images
    report_dir, collector = Path(cfg.output_dir) / "report", OutputCollector()
    if trainer.is_global_zero:
        report_dir.mkdir(exist_ok=True)
    watching: list[Callback] = [collector]
    embeddings = None
    if any(isinstance(logger, TensorBoardLogger) for logger in trainer.loggers) and not task.is_sharded:
        embeddings = EmbeddingCollector(datamodule.table.splits["val"])
        watching.append(embeddings)
    trainer.callbacks.extend(watching)  # type: ignore[attr-defined]

    def measure_val() -> tuple[Metrics, SplitOutputs]:
        """Not into the curves: the best checkpoint is not one more epoch."""
        loggers, trainer.loggers = trainer.loggers, []
        trainer.validate(task, datamodule=datamodule, verbose=False)
        trainer.loggers = loggers
        return scalars(trainer.callback_metrics), finite_outputs("val", datamodule.table, *collector.take())

    metrics, val = measure_val()
    if (soup := try_soup(metrics, cfg, task, trainer, measure_val)) is not None:
        metrics, val = soup
    calibrate(task, val)
    keep_calibration(task, val, trainer, cfg.task.monitor)
    measured = [val]
    if cfg.test and "test" in datamodule.table.splits:
        trainer.test(task, datamodule=datamodule, verbose=False)
        metrics |= scalars(trainer.callback_metrics)
        measured.append(finite_outputs("test", datamodule.table, *collector.take()))
    for callback in watching:
        trainer.callbacks.remove(callback)  # type: ignore[attr-defined]
    if embeddings is not None:
        found = task.predictions(torch.from_numpy(val.outputs_NK)) if len(val.rows_N) else []
        predictions = {row: one.answer for row, one in zip(val.rows_N.tolist(), found, strict=True)}
        embeddings.log_to(trainer, datamodule.table, predictions)
    for outputs in measured:
        metrics |= {f"{outputs.split}/{name}": value for name, value in how_calibrated(task, outputs).items()}
        if trainer.is_global_zero:
            write_predictions(report_dir / f"{outputs.split}_predictions.csv", task, outputs, cfg.spreadsheet_safe)
            if outputs.split == "test" and len(outputs.rows_N):
                write_test_report(task, outputs, report_dir, trainer, cfg.spreadsheet_safe)
    if has_logits(task, val):
        metrics["temperature"] = task.temperature
    return metrics, measured


# --------------------------------------------------------------------------------------------------------- calibration


def has_logits(task: FineTuneTask, outputs: SplitOutputs) -> bool:
    """Whether there are outputs (trainer.limit_val_batches=0 leaves none) of which probabilities are made."""
    return len(outputs.rows_N) > 0 and task.output_layer().temperature is not None


def calibrate(task: FineTuneTask, val: SplitOutputs) -> None:
    """Give the task the temperature that fits val."""
    if has_logits(task, val):
        task.temperature = fit_temperature(val.outputs_NK, val.labels)


def keep_calibration(task: FineTuneTask, val: SplitOutputs, trainer: Trainer, monitor: str) -> None:
    """Put temperature, and what is usual for ood_score on val, into best.ckpt."""
    kept = find_best(trainer, monitor)
    if not trainer.is_global_zero or not has_logits(task, val) or kept is None:
        return
    if not (file := Path(kept.best_model_path)).is_file():
        return
    facts = {"temperature": task.temperature, "images": len(val.rows_N), **usual_scores(task, val)}
    checkpoint = load_checkpoint(file)
    checkpoint[CHECKPOINT_KEY][CALIBRATION_KEY] = facts
    AtomicCheckpointIO().save_checkpoint(checkpoint, file)


def usual_scores(task: FineTuneTask, val: SplitOutputs) -> Metrics:
    """Percentiles of ood_score on val; empty where there is none."""
    if not has_logits(task, val):
        return {}
    scores_N = task.ood_scores(torch.from_numpy(val.outputs_NK)).numpy()
    return {f"ood_score_p{q}": float(np.percentile(scores_N, q)) for q in (50, 95, 99)}


def how_calibrated(task: FineTuneTask, outputs: SplitOutputs) -> Metrics:
    """`ece` and `brier` of a split, with and without temperature; empty where too few probabilities are known."""
    if not has_logits(task, outputs) or not outputs.measurable:
        return {}
    return calibration_metrics(outputs.outputs_NK, outputs.labels, task.temperature)


# -------------------------------------------------------------------------------------------------------- best weights


def find_best(trainer: Trainer, monitor: str) -> ModelCheckpoint | None:
    """The callback that keeps best.ckpt."""
    kept = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor == monitor]
    return next((callback for callback in kept if not isinstance(callback, SoupCheckpoint)), None)


def load_best(task: FineTuneTask, trainer: Trainer, monitor: str) -> None:
    """Put the best weights into `task`: those of best.ckpt, or else the moving average, or else the last ones."""
    best, weights = find_best(trainer, monitor), None
    last = trainer.strategy.lightning_module_state_dict()  # sharded weights are gathered by all processes
    if trainer.is_global_zero:
        if best is not None and Path(best.best_model_path).is_file():
            weights = load_checkpoint(Path(best.best_model_path))["state_dict"]
        else:
            averages = [c.average for c in trainer.callbacks if isinstance(c, MovingAverage)]  # type: ignore[attr-defined]
            weights = averages[0] if averages else last
    load_everywhere(weights, task, trainer)


def load_everywhere(weights: StateDict | None, task: FineTuneTask, trainer: Trainer) -> None:
    """Weights that the first process has read: the other nodes may not see its disk."""
    if task.is_sharded:
        load_sharded(weights or {}, task)
        return
    task.load_state_dict(trainer.strategy.broadcast(cast(StateDict, weights)), strict=False)


def try_soup(
    best: Metrics,
    cfg: DictConfig,
    task: FineTuneTask,
    trainer: Trainer,
    measure_val: Callable[[], tuple[Metrics, SplitOutputs]],
) -> tuple[Metrics, SplitOutputs] | None:
    """Put the average of the best epochs in the place of the best one, in `task` and in best.ckpt, if val allows it.

    None if there is nothing to average.
    """
    soup = next((c for c in trainer.checkpoint_callbacks if isinstance(c, SoupCheckpoint)), None)
    kept = find_best(trainer, cfg.task.monitor)
    files = trainer.strategy.broadcast(soup.files() if soup is not None else [])
    if kept is None or len(files) < 2:
        return None
    load_everywhere(average_of(files) if trainer.is_global_zero else None, task, trainer)
    (metrics, val), monitor = measure_val(), cfg.task.monitor
    mixed = trainer.strategy.lightning_module_state_dict()  # by all processes
    better = metrics[monitor] >= best[monitor] if cfg.task.mode == "max" else metrics[monitor] <= best[monitor]
    log.info(
        "Soup of the %d best epochs: %s %.4f, the best alone %.4f: %s.",
        len(files), monitor, metrics[monitor], best[monitor], "kept" if better else "not kept",
    )  # fmt: skip
    if not better:
        load_best(task, trainer, monitor)
        metrics, val = measure_val()
    elif trainer.is_global_zero:
        file = Path(kept.best_model_path)
        AtomicCheckpointIO().save_checkpoint({**load_checkpoint(file), "state_dict": mixed}, file)
    return {**metrics, "soup_epochs": len(files) if better else 0}, val


def write_test_report(
    task: FineTuneTask, test: SplitOutputs, folder: Path, trainer: Trainer, spreadsheet_safe: bool
) -> None:
    """From the outputs of all processes, which every process has. The figure goes into TensorBoard too."""
    if not isinstance(task, ClassificationTask):
        return
    predicted_N = test.outputs_NK.argmax(axis=1).astype(np.int64)
    confusions = count_confusions(predicted_N, test.labels, len(task.class_names))
    write_class_table(folder / "test_classes.csv", confusions, task.class_names, spreadsheet_safe)
    figure = draw_confusions(confusions, task.class_names)
    figure.save(folder / "test_confusion.png")
    add_figure(trainer, "test/confusion", lambda: figure)


# ----------------------------------------------------------------------------------------------------------- the report


def peak_memory() -> dict[str, float]:
    """Most that this process, and the GPU, had in use at once, in MiB; empty where the system does not say."""
    memory = {}
    with suppress(ImportError):  # Windows
        import resource

        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        memory["peak_memory_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)
    if torch.cuda.is_available():
        memory["peak_gpu_memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return memory


def write_run_report(
    cfg: DictConfig,
    task: FineTuneTask,
    metrics: dict[str, Any],
    measured: list[SplitOutputs],
    trainer: Trainer,
) -> None:
    """report/index.html and model_card.md, the figures into TensorBoard too, and the memory into environment.json."""
    output_dir = Path(cfg.output_dir)
    facts = output_dir / "environment.json"
    machine = {**json.loads(facts.read_text(encoding="utf-8")), **peak_memory()}
    write_json(facts, machine)
    measured = [outputs for outputs in measured if len(outputs.rows_N)]
    if not measured:
        return
    report = RunReport(
        title=output_dir.resolve().name,
        task=task,
        config=task.record["config"],
        metrics=metrics,
        environment=machine,
        measured=measured,
        epochs=read_csv_file(output_dir / "epochs.csv"),
        run_dir=output_dir.resolve(),
    )
    write_report(output_dir / "report", report)
    usual = usual_scores(task, measured[0]) if measured[0].split == "val" else {}
    write_model_card(output_dir, report.config, metrics, measured[0].table, usual, report.intervals)
    for name, image in report.figures.items():
        add_figure(trainer, name, image.copy)
