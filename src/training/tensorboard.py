"""What goes into TensorBoard, where it is among a trainer's loggers."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import OmegaConf
from PIL import Image

from src.runs.opening import PATHS_OF_DATA
from src.runs.record import RunRecord
from src.settings.trust import plain_config

USUAL = {
    "backbone": "backbone.name", "batch_size": "data.batch_size", "epochs": "trainer.max_epochs", "lr": "optimizer.lr",
    "seed": "seed", "weights": "backbone.weights",
}  # fmt: skip


def find_tensorboards(trainer: Trainer) -> list[TensorBoardLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def add_figure(trainer: Trainer, name: str, draw: Callable[[], Image.Image]) -> None:
    """Draw into TensorBoard; without it, nothing is drawn."""
    for logger in find_tensorboards(trainer):
        logger.experiment.add_image(name, np.asarray(draw()), trainer.global_step, dataformats="HWC")


def log_hyperparameters(
    record: RunRecord, typed: Mapping[str, str], metrics: dict[str, Any], main: str, trainer: Trainer
) -> None:
    """The settings and what became of them; `typed` are those of the command line, `main` is the main metric."""
    for logger in find_tensorboards(trainer):
        logger.experiment.add_text("config", f"```yaml\n{OmegaConf.to_yaml(plain_config(record.config))}\n```")
        compared = {f"{split}/{name}" for split in ("val", "test") for name in ("loss", main)} | {record.monitor}
        final = {f"final/{name}": metrics[name] for name in metrics if name in compared}
        found = {name: rate for name, rate in metrics.items() if name.startswith("lr_find/")}
        logger.log_hyperparams(hyperparameters(record, typed) | found, final)
        logger.finalize("success")


def hyperparameters(record: RunRecord, typed: Mapping[str, str]) -> dict[str, Any]:
    """The usual suspects, and whatever the command line set."""
    values = {name: record.setting(key) for name, key in USUAL.items()}
    values |= {name: str(record.setting(f"{name}._target_")).rpartition(".")[2] for name in ("optimizer", "scheduler")}
    values["freeze"] = " > ".join(phase["train"] for phase in record.setting("freeze.phases"))
    repeated = ("resume", "data.cache_dir", *PATHS_OF_DATA, *USUAL.values(), *values)
    values |= {key: value for key, value in typed.items() if key not in repeated}
    return {key: value if isinstance(value, bool | int | float) else str(value) for key, value in values.items()}
