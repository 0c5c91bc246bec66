"""Weights & Biases: a run there for each run here, under the same id."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from PIL import Image

from src.files.csv_files import read_csv_file
from src.training.loggers.service import PROJECT, ServiceLogger, Status
from src.training.loggers.shown import Shown

MOST_ROWS = 10_000  # of a table: W&B shows no more
EXIT_CODES = {"finished": 0, "failed": 1, "interrupted": 255}


class WandbRun(ServiceLogger, WandbLogger):
    """Lightning's logger; its run is opened before the training and has this run's id, so that resuming goes on in it.

    Lightning gives W&B no `step`, so nothing is dropped for coming late: the axis is trainer/global_step. More
    arguments are wandb.init's.
    """

    service = "W&B (logger=wandb)"
    way_out = (
        "wandb login (or WANDB_API_KEY) logs in; logger.wandb.offline=true keeps the run on this machine, from where "
        "wandb sync sends it later."
    )

    def __init__(
        self,
        save_dir: str,
        project: str | None = None,
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        offline: bool = False,
        log_model: bool = False,
        **more: Any,
    ) -> None:
        project = project or os.environ.get("WANDB_PROJECT") or PROJECT
        super().__init__(
            name=name, save_dir=save_dir, offline=offline, project=project, entity=entity, group=group,
            tags=list(tags or ()), **more,
        )  # fmt: skip
        del self._wandb_init["anonymous"]  # W&B warns of it
        self._wandb_init["settings"] = {"quiet": True, **(self._wandb_init.get("settings") or {})}
        self.log_model = log_model

    def open(self, name: str, run_id: str, resumed: bool) -> None:
        import wandb

        if wandb.run is not None:  # of a sweep's earlier job in this process, which this one would go on with
            wandb.finish()
        self._wandb_init["name"] = self._wandb_init["name"] or name
        if "/" in name:  # a sweep's job
            self._wandb_init["group"] = self._wandb_init["group"] or name.partition("/")[0]
        self._wandb_init["id"] = self._id = self._wandb_init["id"] or run_id
        if self._offline or os.environ.get("WANDB_MODE") in ("offline", "dryrun"):
            self._wandb_init |= {"mode": "offline", "resume": None}  # which W&B warns that it cannot heed offline
        _ = self.experiment

    def place(self) -> str:
        run = self.experiment
        return str(Path(run.dir).parent if run.offline else run.url)

    def close(self, status: Status) -> None:
        if self._experiment is not None:
            self._experiment.finish(exit_code=EXIT_CODES[status])
            self._experiment = None


class WandbShown(Shown[WandbLogger]):
    shows_images = True

    def image(self, name: str, image: Image.Image, step: int) -> None:
        self.logger.log_image(name, [image], step)

    def table(self, name: str, file: Path, step: int) -> None:
        rows = read_csv_file(file)[:MOST_ROWS]
        if rows:
            columns = {column: numbers([row[column] for row in rows]) for column in rows[0]}
            self.logger.log_table(
                name, list(columns), [list(row) for row in zip(*columns.values(), strict=True)], step=step
            )

    def file(self, file: Path, folder: str) -> None:
        import wandb

        run = self.logger.experiment
        if file.suffix == ".html":
            run.log({f"{folder}/{file.stem}": wandb.Html(file.read_text(encoding="utf-8"), inject=False)})
        elif file.suffix == ".ckpt":
            artifact = wandb.Artifact(f"model-{run.id}", type="model")
            artifact.add_file(str(file))
            run.log_artifact(artifact, aliases=["best"])
        else:
            kept = Path(run.dir) / folder / file.name  # W&B would only make a link
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, kept)
            run.save(str(kept), base_path=run.dir, policy="now")

    def settings(self, usual: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        self.logger.log_hyperparams({**config, **{name: usual[name] for name in usual if name not in config}})

    def results(self, usual: Mapping[str, Any], compared: Mapping[str, float], final: Mapping[str, float]) -> None:
        self.logger.experiment.summary.update(dict(final))


def numbers(cells: list[str]) -> list[Any]:
    """A column as numbers, if all of its cells are some, so that it is sorted as such."""
    try:
        return [float(cell) if cell else None for cell in cells]
    except ValueError:
        return cells
