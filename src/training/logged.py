"""What goes to every logger of a run: images, tables, files, settings and results; each logger shows what it can.

Called on the first process, or on all: then the others do nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.loggers import CometLogger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import Logger
from PIL import Image

from src.runs.opening import PATHS_OF_DATA
from src.runs.record import RunRecord
from src.runs.run import TrainingRun
from src.settings.errors import RunStopped, was_interrupted
from src.training.loggers.comet_run import CometShown
from src.training.loggers.mlflow_run import MlflowShown
from src.training.loggers.service import ServiceLogger
from src.training.loggers.shown import Shown
from src.training.loggers.tensorboard import TensorBoardShown
from src.training.loggers.wandb_run import WandbShown

USUAL = {
    "backbone": "backbone.name", "batch_size": "data.batch_size", "epochs": "trainer.max_epochs", "lr": "optimizer.lr",
    "seed": "seed", "weights": "backbone.weights",
}  # fmt: skip
WRITERS = ("callbacks", "logger")  # groups of settings that say where things are written, and not what is trained


def shown_in(logger: Logger) -> Shown[Any]:
    """The one place that knows which logger shows what; Lightning's own classes count as ours do."""
    match logger:
        case TensorBoardLogger():
            return TensorBoardShown(logger)
        case WandbLogger():
            return WandbShown(logger)
        case MLFlowLogger():
            return MlflowShown(logger)
        case CometLogger():
            return CometShown(logger)
    return Shown(logger)


def shows_images(trainer: Trainer) -> bool:
    """Whether any logger does; the same on all processes."""
    return any(shown_in(logger).shows_images for logger in trainer.loggers)


def shows_embeddings(trainer: Trainer) -> bool:
    return any(shown_in(logger).shows_embeddings for logger in trainer.loggers)


def show(trainer: Trainer, call: Callable[[Shown[Any]], None]) -> None:
    """`call` with each logger that can be reached; a service that fails does not end the run."""
    for logger in trainer.loggers if trainer.is_global_zero else ():
        if not isinstance(logger, ServiceLogger):
            call(shown_in(logger))
        elif not logger.given_up:
            with logger.spared():
                call(shown_in(logger))


def log_image(trainer: Trainer, name: str, draw: Callable[[], Image.Image]) -> None:
    """Draw into the loggers; where none shows images, nothing is drawn."""
    if shows_images(trainer) and trainer.is_global_zero:
        image = draw()
        show(trainer, lambda shown: shown.image(name, image, trainer.global_step))


def log_table(trainer: Trainer, name: str, file: Path) -> None:
    """A csv file that is written."""
    show(trainer, lambda shown: shown.table(name, file, trainer.global_step))


def log_files(trainer: Trainer, files: Mapping[Path, str]) -> None:
    """With the names of the folders to keep them in; what is not there is left out."""
    for file, folder in files.items():
        if file.is_file():
            show(trainer, lambda shown, file=file, folder=folder: shown.file(file, folder))  # type: ignore[misc]


def log_settings(trainer: Trainer, record: RunRecord, typed: Mapping[str, str]) -> None:
    """When the run begins; `typed` are the settings of the command line."""
    config = {key: value for key, value in record.config.items() if key not in WRITERS}
    show(trainer, lambda shown: shown.settings(hyperparameters(record, typed), config))


def log_results(
    trainer: Trainer, record: RunRecord, typed: Mapping[str, str], metrics: Mapping[str, Any], main: str
) -> None:
    """When the run ends: what became of its settings. `main` is the main metric."""
    compared = {f"{split}/{name}" for split in ("val", "test") for name in ("loss", main)} | {record.monitor}
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    own = ("last/", "lr_find/")  # which were logged when they came, or are settings
    best = {f"final/{name}": numbers[name] for name in numbers if name in compared}
    final = {f"final/{name}": value for name, value in numbers.items() if not name.startswith(own)}
    found = {name: rate for name, rate in numbers.items() if name.startswith("lr_find/")}
    show(trainer, lambda shown: shown.results(hyperparameters(record, typed) | found, best, final))


def log_models(trainer: Trainer, best: Path) -> None:
    """The best checkpoint, to the services whose `log_model` asks for it."""
    for logger in trainer.loggers if trainer.is_global_zero and best.is_file() else ():
        if isinstance(logger, ServiceLogger) and logger.log_model and not logger.given_up:
            with logger.spared():
                shown_in(logger).file(best, "checkpoints")


def hyperparameters(record: RunRecord, typed: Mapping[str, str]) -> dict[str, Any]:
    """The usual suspects, and whatever the command line set."""
    values = {name: record.setting(key) for name, key in USUAL.items()}
    values |= {name: str(record.setting(f"{name}._target_")).rpartition(".")[2] for name in ("optimizer", "scheduler")}
    values["freeze"] = " > ".join(phase["train"] for phase in record.setting("freeze.phases"))
    repeated = ("resume", "data.cache_dir", *PATHS_OF_DATA, *USUAL.values(), *values)
    values |= {key: value for key, value in typed.items() if key not in repeated}
    return {key: value if isinstance(value, bool | int | float) else str(value) for key, value in values.items()}


@contextmanager
def open_services(trainer: Trainer, run: TrainingRun) -> Iterator[None]:
    """The run's counterparts in services, open as long as the block lasts; the next run in this process has its own.

    Raises ConfigError if one cannot be opened.
    """
    services = [logger for logger in trainer.loggers if isinstance(logger, ServiceLogger)]
    resumed, status = run.checkpoint_of(run.first_phase) is not None, "failed"
    try:
        for service in services:
            service.begin(run.output_dir, run.run_id, resumed)
        yield
        status = "finished"
    except BaseException as error:
        status = "interrupted" if isinstance(error, RunStopped) or was_interrupted(error) else "failed"
        raise
    finally:
        for service in services:
            service.end(status)  # type: ignore[arg-type]
