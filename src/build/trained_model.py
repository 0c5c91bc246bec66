"""A checkpoint, opened for use: by predict, evaluate, explain, export and serve alike."""

from dataclasses import dataclass
from pathlib import Path

import torch

from src.build.device import find_accelerator
from src.build.task import load_task
from src.models.preprocessing import Preprocessing
from src.runs.checkpoint import load_checkpoint
from src.runs.record import RunRecord
from src.settings.checkpoints import find_checkpoint
from src.settings.errors import ConfigError, first_line
from src.settings.trust import require_own_targets
from src.tasks.lookup import task_class
from src.training.task import FineTuneTask

FOR_INFERENCE = ("task", "head")
FOR_EVALUATION = (*FOR_INFERENCE, "loss", "data")


@dataclass(frozen=True)
class TrainedModel:
    """A task in eval mode on its device, and what its checkpoint says of it: all of it is checked.

    `members`: those that answer together in its network (src/build/ensemble.py); empty for a checkpoint as it is.
    """

    file: Path
    record: RunRecord
    task: FineTuneTask
    device: torch.device
    members: tuple["TrainedModel", ...] = ()

    @property
    def files(self) -> list[Path]:
        return [member.file for member in self.members] or [self.file]

    @property
    def name(self) -> str:
        files = self.files
        return str(files[0]) if len(files) == 1 else f"{len(files)} checkpoints"

    @property
    def backbone(self) -> str:
        """Of all members, such as `2 x resnet18, squeezenet1_1`."""
        names = [member.record.backbone_name for member in self.members] or [self.record.backbone_name]
        counts = {name: names.count(name) for name in names}
        return ", ".join(name if count == 1 else f"{count} x {name}" for name, count in counts.items())

    @property
    def preprocessing(self) -> Preprocessing:
        return self.record.preprocessing

    @classmethod
    def open(cls, path: str, accelerator: str = "cpu", trust: bool = False, evaluate: bool = False) -> "TrainedModel":
        """What a run directory (its best checkpoint) or a .ckpt file holds.

        `accelerator` is as in `find_accelerator`; `trust` calls whatever the file names; `evaluate` brings the
        loss, and checks the settings of the data. Raises ConfigError if there is no such file or device, if the file is
        damaged, or names code that is not ours.
        """
        file = find_checkpoint(path, "best")
        checkpoint, record = load_checkpoint(file)
        if not trust:
            require_own_targets(record.config, file, FOR_EVALUATION if evaluate else FOR_INFERENCE)
        name = find_accelerator(accelerator)
        try:
            task = load_task(task_class(record.task_name), checkpoint["state_dict"], record, with_loss=evaluate)
        except ConfigError:
            raise
        except Exception as error:  # whatever the parts of an unfitting file raise
            raise ConfigError(
                f"'{file}' cannot be used: its weights and its settings do not go together ({first_line(error)}). It "
                "is damaged, or was written by another version of this project."
            ) from error
        device = torch.device("cuda" if name == "gpu" else name)
        return cls(file, record, task.to(device), device)
