"""Tasks whose network gives one row of outputs per image: scores of classes, or numbers.

What only they have: a loss on rows, mixed images, features kept of a frozen network."""

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from torchmetrics import MeanMetric, Metric

from src.data.dataset import Batch
from src.evaluation.calibration import calibration_metrics, fit_temperature
from src.evaluation.evidence import Evidence
from src.evaluation.prediction import Outputs, Prediction
from src.models.classifier import ImageClassifier
from src.models.grad_cam import explain_batch
from src.models.timm_classifier import image_classifier
from src.runs.record import RunRecord
from src.training.task import FineTuneTask


class ScoresTask(FineTuneTask):
    """Logs `<split>/loss`; a task adds its metrics.

    Shapes: B images, K outputs of the network. `loss` takes outputs [B, K] and labels as the batches have them.
    `mixing` (mixup or cutmix) takes float images [B, 3, H, W] and labels, gives both mixed, the labels as shares float
    [B, K].
    """

    model: ImageClassifier
    loss: nn.Module
    needs_loss = True
    val_metrics: Metric  # of outputs [B, K] and what the loss compares them with
    test_metrics: Metric
    seen: tuple[Tensor, Tensor]  # outputs and targets of the current training batch, as the loss got them

    @classmethod
    def adapt(cls, net: nn.Module, record: RunRecord, head: Callable[..., Any], channels_last: bool) -> ImageClassifier:
        model = image_classifier(net, record.preprocessing, channels_last)
        model.reset_classifier(len(record.class_names), head)
        return model

    def configure_metrics(self) -> None:
        """A task adds `val_metrics` and `test_metrics`."""
        self.val_loss, self.test_loss = MeanMetric(), MeanMetric()

    @abstractmethod
    def compute_metrics(self, split: str) -> dict[str, Tensor]:
        """Of all images of val or test and all processes, by name; counting starts anew."""

    def to_targets(self, labels: Tensor) -> Tensor:
        """What the loss compares the outputs with."""
        return labels

    def outputs(self, batch: Batch) -> Tensor:
        """[B, K], of images or of the frozen network's features of them."""
        outputs_BK: Tensor = self.model.forward_head(batch["features"]) if "features" in batch else self(batch["image"])
        return outputs_BK

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """`loss`, of images that are mixed if they are to be."""
        if self.mixing is None:
            outputs_BK, targets = self.outputs(batch), self.to_targets(batch["label"])
        else:
            images_BCHW, targets = self.mixing(batch["image"].float(), batch["label"])
            outputs_BK = self(images_BCHW)
        self.seen = outputs_BK.detach(), targets
        return {"loss": self.loss(outputs_BK, targets)}

    def suspects(self, batch: Batch) -> Tensor:
        return ~self.seen[0].isfinite().all(dim=1) if len(batch["index"]) else super().suspects(batch)

    def keep(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """float32 [B, K]."""
        return {"outputs": outputs.float()}

    def predictions_of(self, evidence: Evidence) -> Iterator[Prediction]:
        for start in range(0, len(evidence), 1024):
            yield from self.predictions(torch.from_numpy(evidence.arrays["outputs"][start : start + 1024]))

    def count(self, split: str, outputs: Tensor, batch: Batch, finite_B: Tensor) -> None:
        outputs_BK, targets = outputs.float()[finite_B], self.to_targets(batch["label"][finite_B])
        getattr(self, f"{split}_loss").update(self.loss(outputs_BK, targets), weight=len(targets))
        getattr(self, f"{split}_metrics").update(outputs_BK, targets)

    def measured(self, split: str) -> dict[str, Tensor]:
        loss = getattr(self, f"{split}_loss")
        values = {**self.compute_metrics(split), f"{split}/loss": loss.compute()}
        loss.reset()
        return values

    def watch_features(self, see: Callable[[Tensor], None]) -> RemovableHandle:
        return self.model.watch_head(see)

    @property
    def frozen_network(self) -> Self:  # type: ignore[override]
        return self

    def heat_maps(self, images_BCHW: Tensor, indices_B: Tensor) -> Tensor:
        return explain_batch(self.model, images_BCHW, indices_B)

    def metrics_of(self, found: Outputs, labels: Any, sizes_wh: Tensor) -> dict[str, Tensor]:
        self.test_metrics.update(self.output_layer().undo(found).float(), self.to_targets(torch.from_numpy(labels)))
        return self.compute_metrics("test")

    def frozen_fingerprint(self) -> str:
        """Changes with the weights outside the head, and with the precision in which they compute."""
        digest = hashlib.sha256(f"{self.trainer.precision} {self.model.memory_format}".encode())
        for name, value in self.model.body_state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        # Of a head on feature maps the features are averages, unless there is more to it than one affine layer.
        digest.update(type(self.model.head).__name__.encode())
        return digest.hexdigest()

    def frozen_features(self, images_BCHW: Tensor) -> Tensor:
        """What the head gets, of uint8 images [B, 3, H, W] on any device, in inference mode and this precision."""
        training = self.model.training
        self.model.eval()
        with torch.inference_mode(), self.trainer.precision_plugin.forward_context():
            features = self.model.forward_features(images_BCHW.to(self.device, non_blocking=True))
        self.model.train(training)
        self.train(self.training)  # frozen modules go back to inference mode
        return features


class CalibratedTask(ScoresTask):
    """Keeps logits float32 [N, K] of each image, by the name `outputs`. Settings: see ScoresTask."""

    one_class: ClassVar[bool]  # per image: its probabilities sum up to 1
    fitted_temperature: float | None = None

    @property
    def temperature(self) -> float:
        """By which logits are divided for probabilities: fitted at the end of a run, before that the checkpoint's."""
        return self.record.temperature if self.fitted_temperature is None else self.fitted_temperature

    def ood_scores(self, logits_NK: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """[N]: the higher, the less an image looks like those of the training."""
        scores_N: npt.NDArray[np.float32] = self.output_layer().arrays(torch.from_numpy(logits_NK))["ood_score"]
        return scores_N

    def calibrate(self, val: Evidence) -> dict[str, float]:
        """Take the temperature that fits val; it, the number of images, and what is usual for ood_score on val."""
        logits_NK = val.arrays["outputs"]
        self.fitted_temperature = fit_temperature(logits_NK, val.labels, self.one_class)
        scores_N = self.ood_scores(logits_NK)
        usual = {f"ood_score_p{q}": float(np.percentile(scores_N, q)) for q in (50, 95, 99)}
        return {"temperature": self.temperature, "images": len(val), **usual}

    def read_evidence(self, rows: Sequence[Mapping[str, str]], temperature: float) -> Evidence | None:
        outputs, layer = self.prediction.read_outputs(rows, self.class_names), self.output_layer()
        if outputs is None:
            return None
        layer.temperature = temperature
        texts, names = [row["label"] for row in rows], self.class_names
        if self.one_class:
            labels = np.array([names.index(text) for text in texts], dtype=np.int64)
        else:
            labels = np.array([[name in text.split(";") for name in names] for text in texts], dtype=np.uint8)
        return Evidence("val", np.arange(len(rows)), {"outputs": layer.undo(outputs).numpy()}, labels)

    def further_metrics(self, evidence: Evidence) -> dict[str, float]:
        """`ece` and `brier`, with and without temperature."""
        return calibration_metrics(evidence.arrays["outputs"], evidence.labels, self.temperature, self.one_class)
