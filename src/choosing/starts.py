"""Whether a new head knows more by the pretrained classes or by training, cross-validated on frozen features.

Shapes: N images, C features, S pretrained classes, K new ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from src.choosing.linear import Standardised, ridge_path
from src.choosing.validation import Parts
from src.training.tuning.head_start import Mixtures

STRENGTHS = (1.0, 0.1, 0.01, 0.001)  # of the penalty on the trained head
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Starts:
    """Shares of the images that are answered rightly, 0..1, and the standard error of their difference over images."""

    pretrained: float
    trained: float
    error: float

    def pretrained_is_enough(self, many: bool) -> bool:
        """Not worse by more than chance would explain; if training has `many` more images than were looked at, better
        by more than that.
        """
        return self.pretrained - self.trained >= (2 * self.error if many else -self.error)


def compared(source: nn.Linear, features_NC: Tensor, labels_N: Labels, part_N: Parts) -> Starts:
    """Mixtures of pretrained classes, as head.start=pretrained makes them, beside a trained linear classifier.

    Each part of the images is answered by what the others give. Trained is a fit by least squares with a penalty, which
    takes a second where a fit of probabilities takes minutes; the best of its four strengths counts. `source` is the
    pretrained head; all on the CPU.
    """
    known_N = mixed(source, features_NC, labels_N, part_N) == labels_N
    right_N = max((answers_N == labels_N for answers_N in trained(features_NC, labels_N, part_N)), key=np.sum)
    differences_N = known_N.astype(np.float64) - right_N
    error = float(differences_N.std(ddof=1) / np.sqrt(len(labels_N)))
    return Starts(float(known_N.mean()), float(right_N.mean()), error)


def mixed(source: nn.Linear, features_NC: Tensor, labels_N: Labels, part_N: Parts) -> Labels:
    """The classes [N] that mixtures of pretrained classes name, each part by those of the others."""
    answers_N = np.empty_like(labels_N)
    for rest, asked in halves(part_N):
        mixtures = Mixtures(source, int(labels_N.max()) + 1)
        mixtures.add(features_NC[rest], torch.from_numpy(labels_N[rest]))
        weight_KC, bias_K, _ = mixtures.head()
        answers_N[asked] = functional.linear(features_NC[asked], weight_KC, bias_K).argmax(dim=1).numpy()
    return answers_N


def trained(features_NC: Tensor, labels_N: Labels, part_N: Parts) -> list[Labels]:
    """For each of STRENGTHS the classes [N] that a fit to the other parts names."""
    answers = [np.empty_like(labels_N) for _ in STRENGTHS]
    ones_NK = functional.one_hot(torch.from_numpy(labels_N)).to(features_NC)
    for rest, asked in halves(part_N):
        standardised = Standardised(features_NC[rest])
        fitted = ridge_path(standardised(features_NC[rest]), ones_NK[rest], STRENGTHS)
        for answers_N, (weight_CK, bias_K) in zip(answers, fitted, strict=True):
            answers_N[asked] = (standardised(features_NC[asked]) @ weight_CK + bias_K).argmax(dim=1).numpy()
    return answers


def halves(part_N: Parts) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Positions of all but one part, and of that one, in turn."""
    for part in range(int(part_N.max()) + 1):
        yield np.flatnonzero(part_N != part), np.flatnonzero(part_N == part)
