"""What every task shares: the steps of training and evaluation, whatever the network says."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torchmetrics import MeanMetric

from src.data.cache.features import FrozenNetwork
from src.data.dataset import Batch
from src.evaluation.evidence import MAX_NOT_FINITE, Evidence
from src.evaluation.prediction import Outputs, Prediction
from src.models.adapted import AdaptedNetwork
from src.models.combined import CombinedNetwork
from src.runs.record import RunRecord
from src.settings.errors import ConfigError
from src.training.combination import Combination
from src.training.exported_model import ExportedModel
from src.training.optional_parts import OptionalParts
from src.training.output_layer import OutputLayer
from src.training.phases import TrainingPlan


class FineTuneTask(OptionalParts):
    """Base of the tasks. Logs `train/loss`, and of val and test what `measured` gives.

    `model` is what `adapt` made, and takes uint8 images [B, 3, H, W]; `record` is what each checkpoint carries of the
    run; `loss` and `mixing` are those of the settings, None where the network has losses of its own.
    """

    prediction: ClassVar[type[Prediction]]
    exported_model: ClassVar[type[ExportedModel]] = ExportedModel
    combination: ClassVar[type[Combination] | None] = None  # None = several networks have no answer together
    combined_network: ClassVar[type[CombinedNetwork]] = CombinedNetwork
    needs_loss: ClassVar[bool] = False
    frozen_network: FrozenNetwork | None = None  # what makes features that can be kept while the head alone trains

    @classmethod
    @abstractmethod
    def adapt(cls, net: nn.Module, record: RunRecord, head: Callable[..., Any], channels_last: bool) -> AdaptedNetwork:
        """The backbone `net` with what is new for the classes of the record. `head` is what conf/head names."""

    def __init__(
        self,
        model: AdaptedNetwork,
        plan: TrainingPlan,
        record: RunRecord,
        loss: nn.Module | None = None,
        mixing: nn.Module | None = None,
    ) -> None:
        if loss is None and self.needs_loss:
            raise ConfigError(f"task.name={record.task_name} needs a loss: choose one with loss=<name>.")
        super().__init__(model, plan, record)
        self.class_names = record.class_names
        self.val_finite, self.test_finite = MeanMetric(), MeanMetric()  # shares of the images with finite outputs
        self.configure_metrics()
        self.loss, self.mixing = loss, mixing

    @abstractmethod
    def configure_metrics(self) -> None:
        """Make what counts, as attributes. Those of the training begin with `train_` (resumable.py)."""

    @property
    @abstractmethod
    def metric_names(self) -> list[str]:
        """What can be monitored: every metric that validation logs."""

    @abstractmethod
    def outputs(self, batch: Batch) -> Any:
        """What the network says about the images of a batch."""

    @abstractmethod
    def keep(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        """The evidence of each image from which metrics, intervals and reports follow; the first axis is the image."""

    @abstractmethod
    def count(self, split: str, outputs: Any, batch: Batch, finite_B: Tensor) -> None:
        """Count in those images of a batch of val or test that have finite outputs, bool [B]: at least one."""

    @abstractmethod
    def measured(self, split: str) -> dict[str, Tensor]:
        """Of all images of val or test and all processes, by name; counting starts anew."""

    @abstractmethod
    def output_layer(self) -> OutputLayer:
        """From the network's outputs to those of an exported file, as calibrated now."""

    @abstractmethod
    def predictions_of(self, evidence: Evidence) -> Iterator[Prediction]:
        """What is said about each image."""

    def exported(self, half: bool = False) -> ExportedModel:
        """What an exported file computes."""
        names = list(self.prediction.output_shapes(self.class_names))
        return self.exported_model(self.model, self.output_layer(), self.record.preprocessing, names, half)

    def compare(self, expected: Outputs, found: Outputs) -> tuple[int, float]:
        """How many answers of two models to the same images are alike, by their digests, and the largest difference, in
        the output layer's unit.
        """
        layer = self.output_layer()
        pairs = list(zip(*(self.prediction.of(outputs, layer) for outputs in (expected, found)), strict=True))
        differences = [one.difference(other, layer.unit) for one, other in pairs]
        return sum(one.same_as(other, layer.unit) for one, other in pairs), max(differences)

    def predictions(self, outputs: Any, threshold: float | None = None) -> Iterable[Prediction]:
        """What is said about each image, of `placed` outputs on any device.

        `threshold`: of all classes, instead of those that the task has.
        """
        layer = self.output_layer()
        if threshold is not None:
            layer.thresholds = [threshold] * len(layer.class_names)
        return self.prediction.of(layer.arrays(outputs.to(self.device)), layer)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor] | None:
        return self.evaluate_batch(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor] | None:
        return self.evaluate_batch(batch, "test")

    def evaluate_batch(self, batch: Batch, split: str) -> dict[str, Tensor] | None:
        """Count in the batch's images with finite outputs; return the rows of the image table and what is kept."""
        if not len(batch["index"]):
            if self.is_sharded:
                self.run_idle()
            return None
        outputs = self.outputs(batch)
        kept = self.keep(outputs, batch)
        finite_B = torch.stack([value.flatten(start_dim=1).isfinite().all(dim=1) for value in kept.values()]).all(dim=0)
        getattr(self, f"{split}_finite").update(finite_B.float())
        if finite_B.any():
            self.count(split, outputs, batch, finite_B)
        return {"index": batch["index"], **kept}

    def on_validation_epoch_end(self) -> None:
        # A validation by itself is of the best weights, and no epoch of the curves.
        self.log_metrics("val", in_curves=self.trainer.state.fn != TrainerFn.VALIDATING)

    def on_test_epoch_end(self) -> None:
        self.log_metrics("test")

    def log_metrics(self, split: str, in_curves: bool = True) -> None:
        values, finite = self.measured(split), getattr(self, f"{split}_finite")
        if 1 - finite.compute() > MAX_NOT_FINITE + 1e-6:  # a share in float32
            values = {name: torch.full_like(value, torch.nan) for name, value in values.items()}
        self.log_dict(values, logger=None if in_curves else False)  # the same on every process already
        finite.reset()
