"""What a task may bring beyond what it must: every method here is a default that says or does nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from PIL import Image
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from src.data.table import ImageTable
from src.data.targets import Targets
from src.evaluation.evidence import Evidence
from src.evaluation.prediction import Floats, Outputs
from src.reports.drawing import draw_images
from src.runs.record import RunRecord
from src.settings.errors import ConfigError
from src.training.output_layer import OutputLayer
from src.training.steps import SteppingModule


class OptionalParts(SteppingModule):
    """Base of FineTuneTask."""

    @classmethod
    def network_for(cls, targets: Targets, record: RunRecord) -> dict[str, Any]:
        """What of the network follows from the targets of the training, plain data: `network` of the record."""
        return {}

    @property
    def facts(self) -> list[str]:
        """Sentences for the log about what was chosen for these data, before training."""
        return []

    def learn_labels(self, labels: Any) -> None:
        """Take over what the training labels say about the outputs, before training; see Targets.labels."""

    def require_measurable(self, labels: Any) -> None:
        """Raise ConfigError if the monitored metric cannot be computed for images of val with these labels."""

    def draw_training_images(self, images: Sequence[Tensor], targets: Iterable[Any], texts: list[str]) -> Image.Image:
        """For the loggers: images uint8 [3, H, W] as the network gets them, with their targets; `texts` say the same in
        words.
        """
        return draw_images(images, texts)

    def figures(self, table: ImageTable, evidence: Evidence) -> dict[str, Image.Image]:
        """Drawn for the loggers, by name, of a split of `table`."""
        return {}

    def watch_features(self, see: Callable[[Tensor], None]) -> RemovableHandle | None:
        """Call `see` with what the head gets of each batch, until the handle is removed; None if that says nothing."""
        return None

    def heat_maps(self, images_BCHW: Tensor, indices_B: Tensor) -> Tensor:
        """As `explain_batch` of src/models/grad_cam.py. Raises ConfigError where no output is of a whole image."""
        raise ConfigError(f"There are no heat maps for task.name={self.record.task_name}.")

    def digest(self, expected: Outputs, found: Outputs, labels: Any = None, first: int = 0) -> Outputs:
        """What `compare` and `metrics_of` need of `found`, whose images `expected` is about, too: all of it, unless
        that is too much to be kept of many images.

        `labels` are what Targets.labels has of all images, of which these begin at `first`.
        """
        return found

    def shares_alike(self, digest: Outputs) -> Floats | None:
        """Of each image, how much of the answer is as expected, 0..1, where an answer has parts."""
        return None

    def metrics_of(self, found: Outputs, labels: Any, sizes_wh: Tensor) -> dict[str, Tensor]:
        """Of the `digest` of answers to images of these sizes, without a loss, by name of the test metric.

        `labels` are what Targets.labels has of them.
        """
        return {}

    def calibrate(self, val: Evidence) -> dict[str, float]:
        """Learn from the best weights' evidence of val, which has images; what best.ckpt then carries, if anything."""
        return {}

    def read_evidence(self, rows: Sequence[Mapping[str, str]], temperature: float) -> Evidence | None:
        """What was kept of the images of these rows of val_predictions.csv, which another checkpoint of such a task
        wrote at its temperature; None if they do not say it. Raises ValueError for cells that are no numbers.
        """
        return None

    def calibrate_anew(self, val: Evidence) -> dict[str, float]:
        """As `calibrate`, of outputs of several networks; also what the training itself would have chosen on val."""
        return self.calibrate(val)

    def take_thresholds(self, layers: Sequence[OutputLayer]) -> None:
        """Take over the mean of several networks' thresholds, where a task has some, with their output layers'
        calibration in the outputs.
        """

    def further_metrics(self, evidence: Evidence) -> dict[str, float]:
        """Of the final weights on a split, beside those that each validation logs; there are images."""
        return {}

    def placed(self, outputs: Any, sizes_wh: Tensor) -> Any:
        """The network's outputs with places, if there are any, in pixels of the files' upright images, int64 [B, 2]."""
        return outputs

    def merged(self, outputs: Tensor, places_xyxy: Tensor) -> Any:
        """`placed` outputs of one image, of those of its tiles at these places in it, int64 [T, 4]."""
        raise NotImplementedError
