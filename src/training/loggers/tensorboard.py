"""What goes into TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from src.files.csv_files import read_csv_file
from src.settings.trust import plain_config
from src.training.loggers.shown import Shown

MOST_ROWS = 50  # of a table, which is text there


class TensorBoardShown(Shown[TensorBoardLogger]):
    shows_images, shows_embeddings = True, True

    def image(self, name: str, image: Image.Image, step: int) -> None:
        self.logger.experiment.add_image(name, np.asarray(image), step, dataformats="HWC")

    def table(self, name: str, file: Path, step: int) -> None:
        """Short ones only."""
        if 0 < len(rows := read_csv_file(file)) <= MOST_ROWS:
            lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
            text = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
            self.logger.experiment.add_text(name, text, step)

    def settings(self, usual: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        self.logger.experiment.add_text("config", f"```yaml\n{OmegaConf.to_yaml(plain_config(dict(config)))}\n```")

    def results(self, usual: Mapping[str, Any], compared: Mapping[str, float], final: Mapping[str, float]) -> None:
        """The HParams tab takes settings and results together."""
        self.logger.log_hyperparams(dict(usual), dict(compared))
        self.logger.finalize("success")

    def embeddings(
        self, vectors_NC: npt.NDArray[Any], thumbnails_N3HW: Tensor, rows: list[list[str]], step: int
    ) -> None:
        self.logger.experiment.add_embedding(
            vectors_NC,
            metadata=rows,
            label_img=thumbnails_N3HW,
            global_step=step,
            tag="val",
            metadata_header=["label", "prediction", "path"],
        )
