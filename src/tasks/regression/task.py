"""One or several numbers per image."""

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from src.tasks.regression.combination import RegressionCombination
from src.tasks.regression.export import RegressionOutputs
from src.tasks.regression.metrics import OF_LABELS, RegressionMetrics
from src.tasks.regression.prediction import RegressionPrediction
from src.training.scores_task import ScoresTask


class RegressionTask(ScoresTask):
    """Logs for val and test `mae`, `rmse` and `r2`, with several targets their means and each one's own (`mae/<name>`).

    Labels are float32 [B, T]. The network learns them standardised; mean and standard deviation of the training labels
    are kept in the checkpoint. The loss is in standard deviations; metrics and answers are in the units of the labels.
    Settings: see ScoresTask.
    """

    prediction = RegressionPrediction
    combination = RegressionCombination
    mean_T: Tensor
    std_T: Tensor

    def configure_metrics(self) -> None:
        super().configure_metrics()
        targets = len(self.class_names)
        self.register_buffer("mean_T", torch.zeros(targets))
        self.register_buffer("std_T", torch.ones(targets))
        self.val_metrics, self.test_metrics = RegressionMetrics(targets), RegressionMetrics(targets)

    @property
    def metric_names(self) -> list[str]:
        names = [f"val/{name}" for name in RegressionMetrics.names]
        targets = self.class_names if len(self.class_names) > 1 else []
        return ["val/loss", *names, *(f"{name}/{target}" for name in names for target in targets)]

    def learn_labels(self, labels: npt.NDArray[Any]) -> None:
        values_NT = torch.from_numpy(labels).double()
        self.mean_T.copy_(values_NT.mean(dim=0))
        spread_T = values_NT.std(dim=0, correction=0)
        self.std_T.copy_(torch.where(spread_T > 0, spread_T, 1.0))  # a target that never changes

    def to_targets(self, labels: Tensor) -> Tensor:
        return (labels - self.mean_T) / self.std_T

    def output_layer(self) -> RegressionOutputs:
        return RegressionOutputs(self.class_names, self.mean_T, self.std_T)

    def compute_metrics(self, split: str) -> dict[str, Tensor]:
        errors = getattr(self, f"{split}_metrics")
        by_target: dict[str, Tensor] = errors.compute()
        errors.reset()
        by_target |= {name: by_target[name] * self.std_T for name in OF_LABELS}
        values = {f"{split}/{name}": value_T.mean() for name, value_T in by_target.items()}
        if len(self.class_names) > 1:
            for name, value_T in by_target.items():
                values |= {f"{split}/{name}/{target}": value_T[t] for t, target in enumerate(self.class_names)}
        return values
