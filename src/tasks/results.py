"""What stays of a finished training: metrics.json, the report, and the last lines of the log."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import Trainer

from src.data.module import ImageDataModule
from src.files.whole_files import write_json
from src.runs.run import TrainingRun
from src.settings.plurals import number_of
from src.tasks.reporting import report_part, write_run_report, write_tables
from src.training.logged import log_files, log_models, log_results
from src.training.measure import find_best, measure_best
from src.training.task import FineTuneTask

log = logging.getLogger(__name__)

KEPT = ("fit_seconds", "soup_epochs")  # of a run that had ended when it was resumed


def measure_and_write(
    run: TrainingRun, task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer, typed: Mapping[str, str]
) -> dict[str, Any]:
    """The metrics of the last and of the best weights, as they are written into the run's directory; none of a dry run.

    `typed` are the settings that the command line gives.
    """
    if not run.leaves_results:
        log.info("fast_dev_run: one batch of train and val went through.")
        return {}
    metrics = metrics_of_training(run, task, trainer)
    measured = measure_best(task, datamodule, trainer, run.settings.test)
    metrics |= measured.metrics
    if trainer.is_global_zero:
        table, safe = datamodule.table, run.settings.spreadsheet_safe
        write_tables(run.output_dir / "report", task, table, measured.splits, trainer, safe)
        file = run.output_dir / "metrics.json"
        if trainer.current_epoch == run.first_epoch and file.exists():
            kept = dict(json.loads(file.read_text(encoding="utf-8")))
            metrics |= {key: kept[key] for key in KEPT if isinstance(kept.get(key), int | float)}
        write_json(file, metrics)
        write_run_report(run.output_dir, task, table, measured, metrics, trainer)
        log_results(trainer, task.record, typed, metrics, report_part(task).HEADLINE[0])
        log_files(trainer, files_of(run.output_dir))
        log_models(trainer, run.output_dir / "checkpoints" / "best.ckpt")
        say(metrics, run.output_dir, find_best(trainer, task.monitor) is not None)
        shutil.rmtree(run.output_dir / "checkpoints" / "soup", ignore_errors=True)
    return metrics


def metrics_of_training(run: TrainingRun, task: FineTuneTask, trainer: Trainer) -> dict[str, Any]:
    """As they were at the end, before the best weights are measured."""
    # Without an epoch, in a run that had ended when it was resumed, there are no new values.
    last = task.logged_metrics() or run.metrics_before
    metrics: dict[str, Any] = {f"last/{name}": value for name, value in last.items()}
    metrics |= {"epochs": trainer.current_epoch, "steps": trainer.global_step}
    metrics |= {f"lr_find/{name}": rate for name, rate in task.record.rates_by_phase.items()}
    return {**metrics, "fit_seconds": round(task.fit_seconds, 2)}


def files_of(run_dir: Path) -> dict[Path, str]:
    """What the loggers get of a finished run, with the names of folders."""
    files = {run_dir / name: "run" for name in ("config.yaml", "metrics.json", "environment.json")}
    return files | {run_dir / "report" / name: "report" for name in ("index.html", "model_card.md", "intervals.json")}


def say(metrics: dict[str, Any], output_dir: Path, best: bool) -> None:
    """The last lines of the log. `best`: whether there is a best checkpoint, which was measured."""
    values = "  ".join(f"{name} {metrics[name]:.4f}" for name in metrics if name.startswith(("val/", "test/")))
    log.info("%s: %s", "Best checkpoint" if best else "Last weights", values)
    here = output_dir.relative_to(Path.cwd()) if output_dir.is_relative_to(Path.cwd()) else output_dir
    shown = (output_dir / "report" / "index.html").is_file()  # there is no page of outputs that are not finite
    page = "; its report/index.html shows it" if shown else ""
    epochs = number_of(metrics["epochs"], "epoch")
    log.info("%s in %.0f s. Everything is in %s%s", epochs, metrics["fit_seconds"], here, page)
