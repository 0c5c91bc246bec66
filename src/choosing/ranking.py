"""Who is best, and who cannot be told apart from it: scores over the same images.

An image is answered by a probe that was fitted without its part, so each counts once, and the images are drawn anew to
see what others would have said (Bayle et al. 2020, arXiv 2007.12671: such intervals hold for cross-validation, where
those from the means of the folds do not, since folds share training images). Groups are drawn whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from src.choosing.probes import Floats, Kept, LinearProbe
from src.evaluation.intervals import CONFIDENCE, Interval, resamples, wilson_interval
from src.evaluation.metric_facts import facts_of

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """What the probe of a candidate made of the images at `rows_N` of the table; `facts` go into the files as they are.

    Of its network: backbone, weights, image_px, features, parameters, images_per_s_inference, images_per_s_training,
    and a `note` if there is something to say. Of the probe: strengths, temperatures. And the seconds of all this.
    """

    name: str
    rows_N: npt.NDArray[np.int64]
    kept: Kept
    facts: Facts


@dataclass(frozen=True)
class Place:
    """`interval`: of the score, 95 %. `difference`, `difference_interval`: score minus the first one's, over the same
    images. `tied`: that interval has 0 in it, so which of the two is better cannot be told.
    """

    result: Result
    score: float
    interval: Interval
    difference: float = 0.0
    difference_interval: Interval = (0.0, 0.0)
    tied: bool = True


@dataclass(frozen=True)
class Ranking:
    """Best first. `images`: that all of them could read. `metric` is as in FACTS."""

    metric: str
    places: Sequence[Place]
    images: int
    notes: list[str] = field(default_factory=list)

    @property
    def first(self) -> Place:
        return self.places[0]

    @property
    def ties(self) -> list[Place]:
        """With the first, which is not among them."""
        return [place for place in self.places[1:] if place.tied]


def ranked(
    results: Sequence[Result],
    probe: type[LinearProbe],
    metric: str,
    higher_is_better: bool,
    labels: npt.NDArray[Any],
    groups_N: npt.NDArray[np.int64] | None,
) -> Ranking:
    """At least one result. `labels` and `groups_N` are of all images of the table."""
    rows_N = results[0].rows_N
    for result in results[1:]:
        rows_N = np.intersect1d(rows_N, result.rows_N)
    groups = None if groups_N is None else groups_N[rows_N]
    scored = []
    for result in results:
        at_N = np.searchsorted(result.rows_N, rows_N)
        kept = {name: values[at_N] for name, values in result.kept.items()}
        measure = probe(labels[rows_N], 1).measure(metric, kept, labels[rows_N])
        score = measure(np.ones(len(rows_N)))
        drawn_R = np.array([measure(weights_N) for weights_N in resamples(len(rows_N), groups)])  # equal for all
        scored.append((result, score, drawn_R))
    scored.sort(key=lambda one: -one[1] if higher_is_better else one[1])
    _, best, best_R = scored[0]
    places = []
    for index, (result, score, drawn_R) in enumerate(scored):
        low, high = percentiles(drawn_R - best_R)
        interval = percentiles(drawn_R)
        if interval[0] == interval[1] and groups is None and facts_of(metric).counts_images:
            interval = wilson_interval(round(score * len(rows_N)), len(rows_N))
        tied = not index or low <= 0 <= high
        places.append(Place(result, score, interval, score - best, (low, high), tied))
    return Ranking(metric, places, len(rows_N))


def percentiles(drawn_R: Floats) -> Interval:
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = (float(value) for value in np.percentile(drawn_R, [tail, 100 - tail]))
    return low, high
