"""Base of the tasks whose outputs are scores of classes: one temperature makes probabilities of them."""

import numpy as np
import numpy.typing as npt
import torch

from src.evaluation.calibration import calibration_metrics, fit_temperature
from src.evaluation.evidence import Evidence
from src.training.scores_task import ScoresTask


class CalibratedTask(ScoresTask):
    """Keeps logits float32 [N, K] of each image, by the name `outputs`. Settings: see ScoresTask."""

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
        self.fitted_temperature = fit_temperature(logits_NK, val.labels)
        scores_N = self.ood_scores(logits_NK)
        usual = {f"ood_score_p{q}": float(np.percentile(scores_N, q)) for q in (50, 95, 99)}
        return {"temperature": self.temperature, "images": len(val), **usual}

    def further_metrics(self, evidence: Evidence) -> dict[str, float]:
        """`ece` and `brier`, with and without temperature."""
        return calibration_metrics(evidence.arrays["outputs"], evidence.labels, self.temperature)
