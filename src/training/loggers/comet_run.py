"""Comet: an experiment there for each run here, under the same key."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CometLogger
from PIL import Image

from src.training.loggers.service import PROJECT, ServiceLogger, Status, flat_settings
from src.training.loggers.shown import Shown


class CometRun(ServiceLogger, CometLogger):
    """Lightning's logger, whose experiment is opened before the training, under this run's id.

    Lightning opens it as soon as the logger is made, and with online=False makes one that logs nothing. More arguments
    are those of comet_ml.ExperimentConfig.
    """

    service = "Comet (logger=comet)"
    way_out = (
        "comet login (or COMET_API_KEY) logs in; logger.comet.online=false keeps the run on this machine, from where "
        "comet upload sends it later."
    )
    opened = False

    def __init__(
        self,
        offline_directory: str,
        project: str | None = None,
        workspace: str | None = None,
        name: str | None = None,
        tags: list[str] | None = None,
        online: bool = True,
        log_model: bool = False,
        **more: Any,
    ) -> None:
        # Before anything imports comet_ml: it would log TensorBoard's and MLflow's calls again, and report its own
        # errors to a third party.
        os.environ.setdefault("COMET_DISABLE_AUTO_LOGGING", "1")
        os.environ.setdefault("COMET_ERROR_TRACKING_ENABLE", "false")
        super().__init__(
            project=project or os.environ.get("COMET_PROJECT_NAME") or PROJECT, workspace=workspace,
            offline_directory=offline_directory, name=name, tags=list(tags or ()),
            **{"display_summary_level": 0, **more},
        )  # fmt: skip
        self._online, self.log_model = online, log_model

    def _create_experiment(self) -> None:
        if self.opened:
            super()._create_experiment()

    def open(self, name: str, run_id: str, resumed: bool) -> None:
        import comet_ml

        self._comet_config = comet_ml.ExperimentConfig(**{**self._kwargs, "name": self._kwargs["name"] or name})
        self._experiment_key, self._mode = run_id, "get" if resumed and not self._online else "get_or_create"
        self.opened = True
        _ = self.experiment

    def place(self) -> str:
        return str(self.experiment.url if self._online else self.save_dir)

    def close(self, status: Status) -> None:
        if self._experiment is not None:
            self._experiment.log_other("status", status)
            self._experiment.end()
            self._experiment, self.opened = None, False


class CometShown(Shown[CometLogger]):
    shows_images = True

    def image(self, name: str, image: Image.Image, step: int) -> None:
        self.logger.experiment.log_image(image, name=name, step=step)

    def table(self, name: str, file: Path, step: int) -> None:
        self.logger.experiment.log_table(str(file))

    def file(self, file: Path, folder: str) -> None:
        self.logger.experiment.log_asset(str(file), file_name=f"{folder}/{file.name}")

    def settings(self, usual: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        self.logger.experiment.log_parameters({**flat_settings(config), **usual})

    def results(self, usual: Mapping[str, Any], compared: Mapping[str, float], final: Mapping[str, float]) -> None:
        self.logger.experiment.log_metrics(dict(final))
