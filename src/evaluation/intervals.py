"""95 % intervals of metrics: what other images of the same kind would give, not what another training would."""

from collections.abc import Callable, Iterator
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Interval = tuple[float, float]
RESAMPLES = 1000
CONFIDENCE = 0.95


def bootstrap(
    measure: Callable[[Floats], dict[str, float]], images: int, groups_N: Ints | None, seed: int = 0
) -> dict[str, Interval]:
    """95 % percentile intervals (Efron 1979) of what `measure` says, given how often each image counts [N].

    Images of a group (a patient, say) are drawn together, since they are no independent ones. An interval without
    width is left out: resampling cannot say how rare a mistake is that none of the images shows.
    """
    drawn = [measure(weights_N) for weights_N in resamples(images, groups_N, seed)]
    tail = 100 * (1 - CONFIDENCE) / 2
    intervals = {}
    for name in drawn[0]:
        values = np.array([one[name] for one in drawn])
        low, high = (float(value) for value in np.nanpercentile(values, [tail, 100 - tail]))
        if low < high:
            intervals[name] = (low, high)
    return intervals


def resamples(images: int, groups_N: Ints | None, seed: int = 0) -> Iterator[Floats]:
    """How often each image counts [N], RESAMPLES times: as many are drawn as there are, groups whole."""
    generator = np.random.default_rng(seed)
    units = np.arange(images) if groups_N is None else np.unique(groups_N, return_inverse=True)[1]
    number = int(units.max()) + 1
    for _ in range(RESAMPLES):
        drawn = generator.integers(number, size=number)
        yield np.bincount(drawn, minlength=number)[units].astype(np.float64)


def wilson_interval(right: int, images: int) -> Interval:
    """95 % interval of a share (Wilson 1927), of use where nothing or everything is right."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share = right / images
    middle = share + z * z / (2 * images)
    half = z * float(np.sqrt(share * (1 - share) / images + z * z / (4 * images**2)))
    scale = 1 + z * z / images
    return max((middle - half) / scale, 0.0), min((middle + half) / scale, 1.0)
