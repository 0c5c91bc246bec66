"""How much of a good result hangs on each setting, and how sure that is.

PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255), as Optuna has it: how much the values of the best trials are crowded
compared with those of all. It needs no more of a trial than whether it was among the best, so trials that ended early
count too: without them little would be left, and only of good values. Shares add up to 1.

Uncertainty: trials are drawn again with replacement (bootstrap), which gives an interval; and results are dealt to the
trials anew, which tells how often a share as large comes about where the setting has no effect. Both are rough: a
search tries few values, and looks where the best were, so that trials are not independent.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from src.sweeps.search.study import Study

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DRAWS = 200
FEWEST, FEWEST_BEST = 10, 5  # trials in all, and of the best
BEST_SHARE = 0.2


@dataclass(frozen=True)
class Importance:
    """Of a setting: its share, the share's 95 % interval, and how often chance gives as much."""

    key: str
    share: float
    low: float
    high: float
    chance: float


@dataclass(frozen=True)
class Sample:
    """`params`: of N trials, by setting. `losses_N`: lower is better."""

    distributions: dict[str, "BaseDistribution"]
    params: Sequence[dict[str, Any]]
    losses_N: np.ndarray[Any, np.dtype[np.float64]]

    def raw(self, rows: np.ndarray[Any, Any], losses_N: np.ndarray[Any, Any]) -> dict[str, float]:
        """Not yet shares, of some trials (a trial may be among them twice), with their losses."""
        import optuna

        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(), pruner=optuna.pruners.NopPruner())
        study.add_trials(
            optuna.trial.create_trial(params=self.params[row], distributions=self.distributions, value=float(loss))
            for row, loss in zip(rows, losses_N, strict=True)
        )
        best = min(max(BEST_SHARE, FEWEST_BEST / len(rows)), 0.5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=best)
            return optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)


def importances(study: Study) -> list[Importance]:
    """The largest first; none of fewer than ten trials, or of a single setting, which has all of it."""
    sample = sample_of(study)
    if len(sample.params) < FEWEST or len(sample.distributions) < 2:
        return []
    rows, generator = np.arange(len(sample.params)), np.random.default_rng(0)
    raw = sample.raw(rows, sample.losses_N)
    drawn, dealt = [], []
    for _ in range(DRAWS):
        again = generator.choice(rows, len(rows))
        drawn.append(shares(sample.raw(again, sample.losses_N[again])))
        dealt.append(sample.raw(rows, generator.permutation(sample.losses_N)))
    found = []
    for key, share in shares(raw).items():
        low, high = np.quantile([one[key] for one in drawn], (0.025, 0.975))
        chance = (1 + sum(one[key] >= raw[key] for one in dealt)) / (1 + DRAWS)
        found.append(Importance(key, share, float(low), float(high), chance))
    return sorted(found, key=lambda one: -one.share)


def shares(raw: dict[str, float]) -> dict[str, float]:
    total = sum(raw.values())
    return {key: value / total if total else 1 / len(raw) for key, value in raw.items()}


def sample_of(study: Study) -> Sample:
    """Trials that failed tell nothing of their settings; those that diverged count as the worst."""
    trials = {one.number: one for one in study.study.trials}
    kept = [one for one in study.tried() if one.status in ("done", "pruned", "diverged")]
    sign = -1.0 if study.mode == "max" else 1.0
    losses = [math.inf if one.status == "diverged" or one.value is None else sign * one.value for one in kept]
    worst = max((loss for loss in losses if loss < math.inf), default=0.0)
    losses_N = np.array([min(loss, worst + 1) for loss in losses])
    return Sample(study.distributions, [trials[one.number].params for one in kept], losses_N)
