"""head.start=pretrained: each new class begins as the mixture of pretrained classes that the network sees in it.

Shapes: B images, C channels of what the head gets, K new classes, S pretrained ones.
"""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning import Trainer
from torch import Tensor, nn

from src.cli.progress import progress_bar
from src.data.dataset import Batch
from src.data.module import ImageDataModule
from src.data.targets import Rows
from src.models.classifier import pooled
from src.models.weights import categories_of, find_weights, pretrained_head
from src.settings.nodes import BackboneConfig
from src.training.task import FineTuneTask
from src.training.tuning.rehearsal import rehearsal

log = logging.getLogger(__name__)

IMAGES_PER_CLASS = 50  # on 244 photographs of two classes, all of them did no better than 50
NAMED_CLASSES = 10  # in the log


def start_from_pretrained(
    backbone: BackboneConfig, task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer
) -> None:
    """Give the new head weights from the pretrained one, by what that says of up to 50 training images per class.

    A new class's weights are those of the pretrained classes, each counted by its mean probability on the new class's
    images: the category relationship p(source | target) of Co-Tuning (You et al. 2020, NeurIPS). The mean over the
    new classes is taken off, which softmax does not see, and the biases make the outputs 0 on the average of the
    classes. Where the pretrained classes tell the new ones not apart, the weights end near 0 like those of a new head.

    The last layer of the task's head gets what the head gets, and an image has one class. Raises ConfigError if the
    weights' file has no head.
    """
    found = find_weights(backbone.name, backbone.weights)
    assert found is not None  # src/settings/contradictions.py refuses random weights
    source = pretrained_head(backbone.name, found, task.model.head_names[0])
    rows = some_of_each_class(datamodule.table.labels, datamodule.table.splits["train"], IMAGES_PER_CLASS)
    mixtures = Mixtures(source, len(task.class_names))
    for features_BC, batch in features_by_batch("pretrained classes", rows, task, datamodule, trainer):
        mixtures.add(features_BC, batch["label"])
    weight_KC, bias_K, probabilities_KS = mixtures.head()
    layer = task.model.affine_layers[-1]
    assert layer.bias is not None
    with torch.no_grad():
        layer.weight.copy_(weight_KC.view_as(layer.weight))
        layer.bias.copy_(bias_K)
    log.info("Head: starts from the pretrained classes of %s training images", f"{len(rows):,}")
    names = categories_of(backbone.name)
    if len(task.class_names) <= NAMED_CLASSES and len(names) == len(source.bias):  # not those of other weights
        for class_name, p_S in zip(task.class_names, probabilities_KS, strict=True):
            most = p_S.topk(min(3, len(names)))
            seen = [f"{names[i]} {p:.0%}" for p, i in zip(most.values.tolist(), most.indices.tolist(), strict=True)]
            log.info("  %s: %s", class_name, ", ".join(seen))


class Mixtures:
    """New classes as mixtures of those of `source`, from batches of images; see `start_from_pretrained`."""

    def __init__(self, source: nn.Linear, classes: int) -> None:
        self.source = source
        self.probabilities_KS = torch.zeros(classes, source.out_features)
        self.features_KC = torch.zeros(classes, source.in_features)
        self.count_K1 = torch.zeros(classes, 1)

    def add(self, features_BC: Tensor, labels_B: Tensor) -> None:
        """Images of these new classes, int64, and what the head gets of them; on the CPU."""
        logits_BS = nn.functional.linear(features_BC, self.source.weight, self.source.bias)
        self.probabilities_KS.index_add_(0, labels_B, logits_BS.softmax(dim=1))
        self.features_KC.index_add_(0, labels_B, features_BC)
        self.count_K1.index_add_(0, labels_B, torch.ones(len(features_BC), 1))

    def head(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weight [K, C], bias [K], mean probabilities [K, S]; a class without an image has the mean of the others."""
        seen_K = self.count_K1.flatten() > 0
        count_K1 = self.count_K1.clamp(min=1)
        probabilities_KS, means_KC = self.probabilities_KS / count_K1, self.features_KC / count_K1
        probabilities_KS[~seen_K] = probabilities_KS[seen_K].mean(dim=0)
        weight_KC = (probabilities_KS - probabilities_KS.mean(dim=0)) @ self.source.weight
        return weight_KC, -weight_KC @ means_KC[seen_K].mean(dim=0), probabilities_KS


def features_by_batch(
    what: str, rows: Rows, task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer
) -> Iterator[tuple[Tensor, Batch]]:
    """What the head gets, float32 [B, C] on the CPU, of those images of these rows that can be read; and their batches.

    `what`: the progress bar's word. Meant to be taken to its end.
    """
    with rehearsal(task, datamodule, trainer) as copied, torch.inference_mode(), progress_bar() as progress:
        network = copied.frozen_network
        assert network is not None  # of tasks with one class per image
        bar = progress.add_task(what, total=len(rows), speed="", loss="")
        for batch in datamodule.evaluation_loader(rows):
            if len(batch["label"]):
                yield pooled(network.frozen_features(batch["image"]).float()).cpu(), batch
            progress.update(bar, advance=len(batch["label"]))


def some_of_each_class(labels_N: npt.NDArray[Any], rows: Rows, most: int) -> Rows:
    """Up to `most` of these rows per class, evenly spread over them."""
    chosen = []
    for label in np.unique(labels_N[rows]):
        of_class = rows[labels_N[rows] == label]
        count = min(most, len(of_class))
        chosen.append(of_class[np.linspace(0, len(of_class) - 1, count).round().astype(np.int64)])
    return np.sort(np.concatenate(chosen))
