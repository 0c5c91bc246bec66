"""Cross-validation of a linear probe, with everything chosen inside each training part. N images, C features."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from src.choosing.linear import Affine, Standardised
from src.choosing.probes import Floats, LinearProbe
from src.data.splits import fold
from src.data.table import ImageTable
from src.data.targets import Rows
from src.settings.errors import ConfigError

STRENGTHS = tuple(10.0**power for power in range(0, -8, -1))  # of the penalty, the strongest first
PATIENCE = 2  # weaker penalties that are no better, after which no weaker one is tried
LEAST_FOLDS = 3
Parts = npt.NDArray[np.int64]  # of each image [N], 0 to folds - 1


def parts_of(table: ImageTable, pool: Rows, folds: int, seed: int) -> Parts:
    """As `data.folds` cuts these rows: classes spread evenly, groups whole."""
    if folds < LEAST_FOLDS:
        raise ConfigError(
            f"data.folds={folds} leaves nothing to choose the strength of the probe with: at least {LEAST_FOLDS}."
        )
    groups_N = None if table.groups_N is None else table.groups_N[pool]
    part_N = np.full(len(pool), -1)
    for part in range(folds):
        part_N[fold(table.targets.take(pool), folds, part, seed, groups_N)[1]] = part
    return part_N


@dataclass(frozen=True)
class Validated:
    """Answers to each image of a probe that never saw its part [N, K], and what was chosen for each part."""

    outputs_NK: Floats
    strengths: list[float]
    temperatures: list[float]


def steps(folds: int) -> int:
    return math.comb(folds, 2) + folds


def cross_validated(
    probe: LinearProbe, features_NC: Tensor, part_N: Parts, done: Callable[[], None] = lambda: None
) -> Validated:
    """Each part is answered by a probe of the other parts, whose strength and temperature were chosen among these.

    `done` is called `steps(folds)` times.
    """
    folds = int(part_N.max()) + 1
    losses_FGS, temperatures_FGS = chosen_by(probe, features_NC, part_N, done)
    strengths, temperatures = list[float](), list[float]()
    outputs_NK = np.empty((len(part_N), probe.outputs))
    for f in range(folds):
        others = [g for g in range(folds) if g != f]
        chosen = int(losses_FGS[f, others].mean(axis=0).argmin())
        strengths.append(STRENGTHS[chosen])
        temperatures.append(float(np.exp(np.log(temperatures_FGS[f, others, chosen]).mean())))
        for ask in fitted(probe, features_NC, part_N != f, [STRENGTHS[chosen]]):
            outputs_NK[part_N == f] = ask(part_N == f) / temperatures[f]
        done()
    return Validated(outputs_NK, strengths, temperatures)


def chosen_by(
    probe: LinearProbe, features_NC: Tensor, part_N: Parts, done: Callable[[], None]
) -> tuple[Floats, Floats]:
    """Loss and temperature [folds, folds, strengths] of the answers to part g in the choice for part f, at [f, g].

    They come from what was fitted without both parts, which is asked about f in the choice for g too: a
    cross-validation inside each training part at half its price.
    """
    folds = int(part_N.max()) + 1
    losses_FGS = np.full((folds, folds, len(STRENGTHS)), np.inf)
    temperatures_FGS = np.ones_like(losses_FGS)
    for f, g in combinations(range(folds), 2):
        best, waited = math.inf, 0
        for s, ask in enumerate(fitted(probe, features_NC, (part_N != f) & (part_N != g), STRENGTHS)):
            for one, other in ((f, g), (g, f)):
                asked = part_N == other
                losses_FGS[one, other, s], temperatures_FGS[one, other, s] = probe.loss(ask(asked), asked)
            loss = losses_FGS[f, g, s] + losses_FGS[g, f, s]
            best, waited = (loss, 0) if loss < best else (best, waited + 1)
            if waited == PATIENCE:
                break
        done()
    return losses_FGS, temperatures_FGS


Ask = Callable[[npt.NDArray[np.bool_]], Floats]  # from the images that are asked about to answers [N, K]


def fitted(
    probe: LinearProbe, features_NC: Tensor, rows: npt.NDArray[np.bool_], strengths: Sequence[float]
) -> Iterator[Ask]:
    """Of each strength, what was fitted to the images of these rows."""

    def asking(affine: Affine) -> Ask:
        weight_CK, bias_K = affine

        def ask(asked: npt.NDArray[np.bool_]) -> Floats:
            outputs_NK = standardised(features_NC[chosen(asked)]) @ weight_CK + bias_K
            return outputs_NK.double().cpu().numpy()

        return ask

    def chosen(some: npt.NDArray[np.bool_]) -> Tensor:
        return torch.from_numpy(np.flatnonzero(some)).to(features_NC.device)

    standardised = Standardised(features_NC[chosen(rows)])
    for affine in probe.path(standardised(features_NC[chosen(rows)]), rows, strengths):
        yield asking(affine)
