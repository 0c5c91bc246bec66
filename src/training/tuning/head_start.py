"""head.start=pretrained: each new class begins as the mixture of pretrained classes that the network sees in it.

Shapes: B images, C channels of what the head gets, K new classes, S pretrained ones.
"""

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning import Trainer
from torch import Tensor, nn

from src.cli.progress import progress_bar
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
    probabilities_KS, features_KC, seen_K = _means_by_class(source, rows, task, datamodule, trainer)
    weight_KC, bias_K = mixtures(source, probabilities_KS, features_KC, seen_K)
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


def mixtures(source: nn.Linear, probabilities_KS: Tensor, features_KC: Tensor, seen_K: Tensor) -> tuple[Tensor, Tensor]:
    """Weight [K, C] and bias [K] of the new classes, from means over their images as `start_from_pretrained` says.

    A class that was not seen (bool [K]) gets the mean of the others in `probabilities_KS`, in place.
    """
    probabilities_KS[~seen_K] = probabilities_KS[seen_K].mean(dim=0)
    weight_KC = (probabilities_KS - probabilities_KS.mean(dim=0)) @ source.weight
    return weight_KC, -weight_KC @ features_KC[seen_K].mean(dim=0)


def _means_by_class(
    source: nn.Linear, rows: Rows, task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the images in these rows, by new class: what the pretrained head says of them, and what it gets.

    Returns:
        Mean probabilities float32 [K, S]; mean features float32 [K, C]; bool [K], False where no image could be read
        and the means are 0.
    """
    num_classes = len(task.class_names)
    probabilities_KS = torch.zeros(num_classes, source.out_features)
    features_KC = torch.zeros(num_classes, source.in_features)
    count_K1 = torch.zeros(num_classes, 1)
    with rehearsal(task, datamodule, trainer) as copied, torch.inference_mode(), progress_bar() as progress:
        network = copied.frozen_network
        assert network is not None  # of tasks with one class per image
        bar = progress.add_task("pretrained classes", total=len(rows), speed="", loss="")
        for batch in datamodule.evaluation_loader(rows):
            if len(batch["label"]):
                features_BC = pooled(network.frozen_features(batch["image"]).float()).cpu()
                logits_BS = nn.functional.linear(features_BC, source.weight, source.bias)
                probabilities_KS.index_add_(0, batch["label"], logits_BS.softmax(dim=1))
                features_KC.index_add_(0, batch["label"], features_BC)
                count_K1.index_add_(0, batch["label"], torch.ones(len(features_BC), 1))
            progress.update(bar, advance=len(batch["label"]))
    return probabilities_KS / count_K1.clamp(min=1), features_KC / count_K1.clamp(min=1), count_K1.flatten() > 0


def some_of_each_class(labels_N: npt.NDArray[Any], rows: Rows, most: int) -> Rows:
    """Up to `most` of these rows per class, evenly spread over them."""
    chosen = []
    for label in np.unique(labels_N[rows]):
        of_class = rows[labels_N[rows] == label]
        count = min(most, len(of_class))
        chosen.append(of_class[np.linspace(0, len(of_class) - 1, count).round().astype(np.int64)])
    return np.sort(np.concatenate(chosen))
