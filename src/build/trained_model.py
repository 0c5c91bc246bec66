"""A checkpoint, opened for use: by predict, evaluate, explain, export and serve alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from src.build.device import find_accelerator
from src.build.task import load_task
from src.data.dataset import on_device, stacked
from src.data.images_in_memory import GivenImage, opened_image
from src.data.transforms import evaluation_transform
from src.evaluation.prediction import Prediction
from src.models.by_shape import outputs_by_shape
from src.models.preprocessing import Preprocessing
from src.runs.checkpoint import load_checkpoint
from src.runs.record import RunRecord
from src.settings.check import find_checkpoint
from src.settings.errors import ConfigError, first_line
from src.settings.trust import require_own_targets
from src.tasks.lookup import task_class
from src.training.task import FineTuneTask

FOR_INFERENCE = ("task", "head")
FOR_EVALUATION = (*FOR_INFERENCE, "loss", "data")


@dataclass(frozen=True)
class TrainedModel:
    """A task in eval mode on its device, and what its checkpoint says of it: all of it is checked."""

    file: Path
    record: RunRecord
    task: FineTuneTask
    device: torch.device

    @property
    def preprocessing(self) -> Preprocessing:
        return self.record.preprocessing

    @classmethod
    def open(
        cls, path: str | Path, accelerator: str = "cpu", trust: bool = False, evaluate: bool = False
    ) -> "TrainedModel":
        """What a run directory (its best checkpoint) or a .ckpt file holds.

        `accelerator` is as in `find_accelerator`; `trust` calls whatever the file names; `evaluate` brings the
        loss, and checks the settings of the data. Raises ConfigError if there is no such file or device, if the file is
        damaged, or names code that is not ours.
        """
        file = find_checkpoint(str(path), "best")
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

    @torch.inference_mode()
    def predict(self, images: Sequence[GivenImage], score_threshold: float | None = None) -> list[Prediction]:
        """What is said about each image, in order; src/evaluation/prediction.py has what a prediction offers.

        Resized as in evaluation. Of objects, those from `score_threshold` on; None = the model's own thresholds. Raises
        ConfigError for what is no image, with its place in the list.
        """
        transform, task = evaluation_transform(self.preprocessing), self.task
        found: list[Prediction] = []
        for first in range(0, len(images), most := self.preprocessing.usual_batch_size):
            some = enumerate(images[first : first + most], start=first)
            opened = [opened_image(image, place, transform.needed_px) for place, image in some]
            pixels = stacked([transform(image) for image, _ in opened])
            outputs = outputs_by_shape(task, on_device(pixels, self.device))
            sizes_wh = torch.tensor([size_wh for _, size_wh in opened])
            found += task.predictions(task.placed(outputs, sizes_wh), score_threshold)
        return found
