"""MLflow: a run there for each run here, found again by a tag."""

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import MLFlowLogger
from PIL import Image

from src.training.loggers.service import PROJECT, ServiceLogger, Status, flat_settings
from src.training.loggers.shown import Shown

log = logging.getLogger(__name__)

TAG = "finetune.run_id"
STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
LOCAL_STORE = Path("logs", "mlruns")  # one for all runs, so that they can be compared
MOST_CHARACTERS, MOST_PARAMETERS = 500, 100  # of a value; in one call
NOT_IN_NAMES = re.compile(r"[^\w/. -]+")


class MlflowRun(ServiceLogger, MLFlowLogger):
    """Lightning's logger, whose run is opened before the training; resuming goes on with the one that has its tag.

    Without `tracking_uri` it is MLFLOW_TRACKING_URI that says where, and without that a folder of files, logs/mlruns.
    """

    service = "MLflow (logger=mlflow)"
    way_out = "MLFLOW_TRACKING_URI (or logger.mlflow.tracking_uri) says where the server or the store is."

    def __init__(
        self,
        experiment_name: str | None = None,
        run_name: str | None = None,
        tracking_uri: str | None = None,
        artifact_location: str | None = None,
        tags: dict[str, Any] | None = None,
        log_model: bool = False,
    ) -> None:
        uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or LOCAL_STORE.resolve().as_uri()
        if uri.startswith("file:") or "://" not in uri:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3.17 asks for it
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # 7 are two minutes, for each call
        experiment = experiment_name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        super().__init__(
            experiment_name=experiment, run_name=run_name, tracking_uri=uri, artifact_location=artifact_location,
            tags=dict(tags or {}),
        )  # fmt: skip
        self.log_model = log_model

    def open(self, name: str, run_id: str, resumed: bool) -> None:
        self.tags = {**(self.tags or {}), TAG: run_id}
        self._run_name = self._run_name or name
        self._experiment_id = self.find_experiment()
        if resumed and (run := self.find_run(self._experiment_id, run_id)) is not None:
            self._run_id = run
            self._mlflow_client.update_run(run, status="RUNNING")
        elif resumed:
            log.warning("%s has no run of this training: a new one begins there.", self.service)
        _ = self.experiment

    def find_experiment(self) -> str:
        """MLflow's id of the experiment, which is made if need be."""
        from mlflow.exceptions import MlflowException

        if (found := self._mlflow_client.get_experiment_by_name(self._experiment_name)) is None:
            try:
                return self._mlflow_client.create_experiment(self._experiment_name, self._artifact_location)
            except MlflowException:  # has another job of a sweep just made it?
                if (found := self._mlflow_client.get_experiment_by_name(self._experiment_name)) is None:
                    raise
        return found.experiment_id

    def find_run(self, experiment_id: str, run_id: str) -> str | None:
        """MLflow's id of the run with the tag; None if the store has none."""
        found = self._mlflow_client.search_runs([experiment_id], f"tags.`{TAG}` = '{run_id}'", max_results=1)
        return found[0].info.run_id if found else None

    def place(self) -> str:
        return f"run {self._run_id} of experiment {self._experiment_name} in {self._tracking_uri}"

    def close(self, status: Status) -> None:
        if self._run_id is not None:
            self._mlflow_client.set_terminated(self._run_id, STATUS[status])

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        super().log_metrics({NOT_IN_NAMES.sub("_", name): value for name, value in metrics.items()}, step)


class MlflowShown(Shown[MLFlowLogger]):
    shows_images = True

    def image(self, name: str, image: Image.Image, step: int) -> None:
        self.logger.experiment.log_image(self.logger.run_id, image, key=NOT_IN_NAMES.sub("_", name), step=step)

    def table(self, name: str, file: Path, step: int) -> None:
        self.file(file, "tables")

    def file(self, file: Path, folder: str) -> None:
        self.logger.experiment.log_artifact(self.logger.run_id, str(file), folder)

    def settings(self, usual: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Parameters cannot be changed: what a resumed run has otherwise is a tag."""
        from mlflow.entities import Param, RunTag

        client, run_id = self.logger.experiment, self.logger.run_id
        values = flat_settings(config) | dict(usual)
        given = {NOT_IN_NAMES.sub("_", key): str(value)[:MOST_CHARACTERS] for key, value in values.items()}
        known = client.get_run(run_id).data.params
        params = [Param(key, value) for key, value in given.items() if key not in known]
        for first in range(0, len(params), MOST_PARAMETERS):
            client.log_batch(run_id, params=params[first : first + MOST_PARAMETERS])
        changed = [RunTag(f"resumed.{key}", given[key]) for key in known if known[key] != given.get(key, known[key])]
        client.log_batch(run_id, tags=changed)

    def results(self, usual: Mapping[str, Any], compared: Mapping[str, float], final: Mapping[str, float]) -> None:
        self.logger.log_metrics(dict(final))
