"""A checkpoint, opened for use: by predict, evaluate, explain, export and serve alike."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from src.build.build import find_accelerator, load_loss, load_task
from src.models.preprocessing import Preprocessing
from src.runs.checkpoint import find_checkpoint, load_checkpoint
from src.runs.record import CALIBRATION_KEY, CHECKPOINT_KEY
from src.settings.errors import ConfigError, first_line
from src.settings.trust import require_own_targets
from src.training.scores_task import ScoresTask

FOR_INFERENCE = ("task", "head")
FOR_EVALUATION = (*FOR_INFERENCE, "loss", "data")


@dataclass(frozen=True)
class TrainedModel:
    """A task in eval mode on its device, and what its checkpoint says of it.

    `record` is what `make_record` made, and calibration; all of it is checked.
    """

    file: Path
    record: dict[str, Any]
    task: ScoresTask
    device: torch.device

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing.from_dict(self.record["preprocessing"])

    @property
    def backbone(self) -> str:
        return str(self.record["config"]["backbone"]["name"])

    @property
    def usual_ood_score(self) -> float | None:
        """What 1 % of the val images exceeded; None if the checkpoint does not say."""
        value: float | None = self.record.get(CALIBRATION_KEY, {}).get("ood_score_p99")
        return value

    @classmethod
    def open(cls, path: str, accelerator: str = "cpu", trust: bool = False, evaluate: bool = False) -> "TrainedModel":
        """What a run directory (its best checkpoint) or a .ckpt file holds.

        Args:
            path: of either.
            accelerator: auto, cpu, gpu or mps.
            trust: call whatever the file names.
            evaluate: with its loss, and able to measure on its own data.

        Raises:
            ConfigError: there is no such file; it is damaged; it names code that is not ours; no such device.
        """
        file = find_checkpoint(path, "best")
        checkpoint = load_checkpoint(file)
        record = checkpoint[CHECKPOINT_KEY]
        if not trust:
            require_own_targets(record["config"], file, FOR_EVALUATION if evaluate else FOR_INFERENCE)
        name = find_accelerator(accelerator)
        try:
            task = load_task(checkpoint, record)
            task.loss = load_loss(checkpoint, record) if evaluate else nn.Identity()
        except ConfigError:
            raise
        except Exception as error:  # whatever the parts of an unfitting file raise
            raise ConfigError(
                f"'{file}' cannot be used: its weights and its settings do not go together ({first_line(error)}). It "
                "is damaged, or was written by another version of this project."
            ) from error
        device = torch.device("cuda" if name == "gpu" else name)
        return cls(file, record, task.to(device), device)
