"""Linear probes by the kind of targets: how one is fitted, what is kept of its answers, and what they are worth.

Shapes: N images, C features, K classes or numbers.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from src.choosing.linear import Affine, logistic_path, ridge_path
from src.evaluation.calibration import fit_temperature, to_probabilities
from src.evaluation.class_scores import Ranking
from src.settings.errors import ConfigError
from src.settings.target_kinds import TARGET_KINDS

Floats = npt.NDArray[np.float64]
Kept = Mapping[str, npt.NDArray[Any]]  # what is kept of each image [N, ...], by name
Measure = Callable[[Floats], float]  # from how often each image counts [N]
LEAST = 1e-12  # probability


class LinearProbe:
    """`labels` are as tables have them (src/data/targets.py), of all the images that it is fitted to or asked about.

    `measures`: what can be ranked by.
    """

    measures: ClassVar[tuple[str, ...]]

    def __init__(self, labels: npt.NDArray[Any], outputs: int) -> None:
        self.labels, self.outputs = labels, outputs

    @abstractmethod
    def path(self, x_NC: Tensor, rows: npt.NDArray[np.bool_], strengths: Sequence[float]) -> Iterator[Affine]:
        """Fitted to the images of these rows, whose standardised features are x, for each strength."""

    @abstractmethod
    def loss(self, outputs_NK: Floats, rows: npt.NDArray[np.bool_]) -> tuple[float, float]:
        """Of answers to these images at the temperature that fits them, lower is better; and that temperature."""

    @abstractmethod
    def keep(self, outputs_NK: Floats) -> Kept:
        """Of answers to all images, divided by their temperature."""

    @abstractmethod
    def measure(self, name: str, kept: Kept, labels: npt.NDArray[Any]) -> Measure:
        """One of `measures`, of images with these labels."""


class ClassProbe(LinearProbe):
    """One class per image: softmax."""

    measures = ("acc", "balanced_acc", "loss")

    def path(self, x_NC: Tensor, rows: npt.NDArray[np.bool_], strengths: Sequence[float]) -> Iterator[Affine]:
        return logistic_path(x_NC, torch.from_numpy(self.labels[rows]).to(x_NC.device), self.outputs, strengths)

    def loss(self, outputs_NK: Floats, rows: npt.NDArray[np.bool_]) -> tuple[float, float]:
        temperature = fit_temperature(outputs_NK, self.labels[rows], one_class=True)
        return float(_surprise(outputs_NK / temperature, self.labels[rows]).mean()), temperature

    def keep(self, outputs_NK: Floats) -> Kept:
        return {"predicted": outputs_NK.argmax(axis=1), "loss": _surprise(outputs_NK, self.labels)}

    def measure(self, name: str, kept: Kept, labels: npt.NDArray[Any]) -> Measure:
        values_N = kept["loss"] if name == "loss" else (kept["predicted"] == labels).astype(np.float64)
        if name != "balanced_acc":
            return lambda weights_N: float(weights_N @ values_N / weights_N.sum())

        def balanced(weights_N: Floats) -> float:
            there_K = np.bincount(labels, weights=weights_N)
            right_K = np.bincount(labels, weights=weights_N * values_N)
            return float((right_K[there_K > 0] / there_K[there_K > 0]).mean())

        return balanced


def _surprise(logits_NK: Floats, labels_N: npt.NDArray[Any]) -> Floats:
    """-log of the probability of each image's class."""
    shares_NK = to_probabilities(logits_NK, one_class=True)
    return np.asarray(-np.log(np.maximum(shares_NK[np.arange(len(labels_N)), labels_N], LEAST)))


class TagProbe(LinearProbe):
    """Any number of classes per image: sigmoid."""

    measures = ("map", "loss")

    def path(self, x_NC: Tensor, rows: npt.NDArray[np.bool_], strengths: Sequence[float]) -> Iterator[Affine]:
        there_NK = torch.from_numpy(self.labels[rows]).to(x_NC.device, x_NC.dtype)
        return logistic_path(x_NC, there_NK, self.outputs, strengths)

    def loss(self, outputs_NK: Floats, rows: npt.NDArray[np.bool_]) -> tuple[float, float]:
        temperature = fit_temperature(outputs_NK, self.labels[rows], one_class=False)
        return float(_surprise_of_tags(outputs_NK / temperature, self.labels[rows]).mean()), temperature

    def keep(self, outputs_NK: Floats) -> Kept:
        return {"logits": outputs_NK.astype(np.float32), "loss": _surprise_of_tags(outputs_NK, self.labels)}

    def measure(self, name: str, kept: Kept, labels: npt.NDArray[Any]) -> Measure:
        if name == "loss":
            return lambda weights_N: float(weights_N @ kept["loss"] / weights_N.sum())
        ranking, there_NK = Ranking(kept["logits"], labels > 0), labels > 0

        def mean_average_precision(weights_N: Floats) -> float:
            occurs_K = weights_N @ there_NK > 0
            return float(ranking.average_precision(weights_N)[occurs_K].mean()) if occurs_K.any() else 0.0

        return mean_average_precision


def _surprise_of_tags(logits_NK: Floats, labels_NK: npt.NDArray[Any]) -> Floats:
    """-log of the probability of what each image shows, the mean over the classes."""
    signs_NK = np.where(labels_NK > 0, 1.0, -1.0)
    return np.asarray(np.logaddexp(0.0, -signs_NK * logits_NK).mean(axis=1))


class NumberProbe(LinearProbe):
    """Numbers, fitted in standard deviations; answers are in their own units."""

    measures = ("mae", "rmse", "r2")

    def __init__(self, labels: npt.NDArray[Any], outputs: int) -> None:
        super().__init__(labels.astype(np.float64), outputs)
        spread_K = self.labels.std(axis=0)
        self.scale_K = np.where(spread_K > 0, spread_K, 1.0)

    def path(self, x_NC: Tensor, rows: npt.NDArray[np.bool_], strengths: Sequence[float]) -> Iterator[Affine]:
        return ridge_path(x_NC, torch.from_numpy(self.labels[rows]).to(x_NC.device, x_NC.dtype), strengths)

    def loss(self, outputs_NK: Floats, rows: npt.NDArray[np.bool_]) -> tuple[float, float]:
        return float(np.square((outputs_NK - self.labels[rows]) / self.scale_K).mean()), 1.0

    def keep(self, outputs_NK: Floats) -> Kept:
        return {"values": outputs_NK}

    def measure(self, name: str, kept: Kept, labels: npt.NDArray[Any]) -> Measure:
        labels = labels.astype(np.float64)
        errors_NK = kept["values"] - labels

        def mean_over_targets(weights_N: Floats) -> float:
            shares_N = weights_N / weights_N.sum()
            squared_K = shares_N @ np.square(errors_NK)
            if name == "r2":
                variance_K = shares_N @ np.square(labels - shares_N @ labels)
                varies_K = variance_K > 1e-12 * np.square(labels).max(axis=0)
                return float(np.where(varies_K, 1 - squared_K / np.where(varies_K, variance_K, 1.0), 0.0).mean())
            return float((np.sqrt(squared_K) if name == "rmse" else shares_N @ np.abs(errors_NK)).mean())

        return mean_over_targets


PROBES: dict[str, type[LinearProbe]] = {"classes": ClassProbe, "tags": TagProbe, "numbers": NumberProbe}


def probe_class(kind: str, metric: str) -> type[LinearProbe]:
    """Of a kind of targets. Raises ConfigError if there is none, or if it cannot rank by this metric."""
    if kind not in PROBES:
        raise ConfigError(f"There is no linear probe for {TARGET_KINDS[kind].words}.")
    probe = PROBES[kind]
    if metric not in probe.measures:
        allowed = ", ".join(f"val/{name}" for name in probe.measures)
        raise ConfigError(f"task.monitor='val/{metric}' is nothing to rank by here. Allowed: {allowed}.")
    return probe
