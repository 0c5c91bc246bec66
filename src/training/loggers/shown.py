"""What a run shows in a logger, beside the numbers that Lightning logs: one class for each kind of logger."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy.typing as npt
from lightning.pytorch.loggers.logger import Logger
from PIL import Image
from torch import Tensor

L = TypeVar("L", bound=Logger)


class Shown(Generic[L]):
    """Of a logger that knows numbers alone: nothing. The others do what they can.

    `shows_images`, `shows_embeddings`: whether it is worth drawing or collecting them. src/training/logged.py calls
    them, on the first process alone.
    """

    shows_images, shows_embeddings = False, False

    def __init__(self, logger: L) -> None:
        self.logger = logger

    def image(self, name: str, image: Image.Image, step: int) -> None:
        """`step`: optimizer steps so far."""

    def table(self, name: str, file: Path, step: int) -> None:
        """A csv file of ours, with a line of column names."""

    def file(self, file: Path, folder: str) -> None:
        """Any other file, such as the report's page, to be kept in a folder of that name."""

    def settings(self, usual: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """When the run begins. `usual`: short names and plain values of what runs mostly differ in; `config`: all."""

    def results(self, usual: Mapping[str, Any], compared: Mapping[str, float], final: Mapping[str, float]) -> None:
        """When the run ends. `compared`: loss and main metric of the best weights; `final`: all that was measured."""

    def embeddings(
        self, vectors_NC: npt.NDArray[Any], thumbnails_N3HW: Tensor, rows: list[list[str]], step: int
    ) -> None:
        """Of images of val; `rows` are their labels, predictions and paths, `thumbnails_N3HW` float, 0..1."""
