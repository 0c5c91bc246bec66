"""TensorBoard, where it is among a trainer's loggers."""

from collections.abc import Callable

import numpy as np
from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image


def find_tensorboards(trainer: Trainer) -> list[TensorBoardLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def add_figure(trainer: Trainer, name: str, draw: Callable[[], Image.Image]) -> None:
    """Draw into TensorBoard; without it, nothing is drawn."""
    for logger in find_tensorboards(trainer):
        logger.experiment.add_image(name, np.asarray(draw()), trainer.global_step, dataformats="HWC")
