"""One class a picture."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from src.data.base import Batch
from src.metrics import classification_metrics, confusion_matrix
from src.tasks.base import FineTuneTask


class ClassificationTask(FineTuneTask):
    """Logs `train/loss`, `train/acc`, and for val and test the loss and every metric of `classification_metrics`.

    Args:
        loss: takes logits [B, K] and class indices int64 [B].
        class_names: K of them, in the order of the logits.
        settings: see FineTuneTask.
    """

    def __init__(self, *, loss: nn.Module, class_names: list[str], **settings: Any) -> None:
        super().__init__(**settings)
        self.loss = loss
        self.class_names = class_names
        num_classes = len(class_names)
        self.train_acc = MulticlassAccuracy(num_classes, average="micro")
        # ModuleDict keys may not be called "train" or hold slashes, hence one attribute a split.
        self.val_metrics = classification_metrics(num_classes, "val/")
        self.test_metrics = classification_metrics(num_classes, "test/")
        self.val_loss, self.test_loss = MeanMetric(), MeanMetric()
        self.val_confusion, self.test_confusion = confusion_matrix(num_classes), confusion_matrix(num_classes)

    @property
    def metric_names(self) -> list[str]:
        return ["val/loss", *map(str, self.val_metrics.keys())]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits [B, K] of uint8 pictures [B, 3, H, W]."""
        return cast(Tensor, self.model(images_BCHW))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        labels_B = batch["label"]
        if not len(labels_B):
            return None  # nothing in this batch could be read
        logits_BK = self(batch["image"])
        loss: Tensor = self.loss(logits_BK, labels_B)
        self.train_acc(logits_BK, labels_B)
        self.log("train/loss_step", loss, batch_size=len(labels_B))
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(labels_B), sync_dist=True)
        self.log("train/acc", self.train_acc, on_step=False, on_epoch=True, batch_size=len(labels_B))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate_batch(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluate_batch(batch, "test")

    def on_validation_epoch_end(self) -> None:
        self.log_metrics("val")

    def on_test_epoch_end(self) -> None:
        self.log_metrics("test")

    def on_validation_epoch_start(self) -> None:
        self.val_confusion.reset()

    def evaluate_batch(self, batch: Batch, split: str) -> None:
        labels_B = batch["label"]
        if not len(labels_B):
            return
        logits_BK = self(batch["image"]).float()
        getattr(self, f"{split}_loss").update(self.loss(logits_BK, labels_B), weight=len(labels_B))
        getattr(self, f"{split}_metrics").update(logits_BK, labels_B)
        getattr(self, f"{split}_confusion").update(logits_BK, labels_B)

    def log_metrics(self, split: str) -> None:
        """Over all pictures of the split and all processes. The confusion matrix is kept for whoever draws it."""
        metrics, loss = getattr(self, f"{split}_metrics"), getattr(self, f"{split}_loss")
        values = {**metrics.compute(), f"{split}/loss": loss.compute()}
        # The values are the same on every process already.
        self.log_dict(values)
        metrics.reset()
        loss.reset()


def predict_probabilities(task: nn.Module, images_BCHW: Tensor) -> Tensor:
    """float32 [B, K], each row summing to 1, of uint8 pictures [B, 3, H, W]."""
    return torch.softmax(task(images_BCHW).float(), dim=1)
