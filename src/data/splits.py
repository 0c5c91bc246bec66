"""Cutting a set of labelled pictures into train, val and test."""

import numpy as np
import numpy.typing as npt

SPLITS = ("train", "val", "test")


def stratified_cut(
    labels_N: npt.NDArray[np.int64], fractions: dict[str, float], seed: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Positions, sorted, of each named part and of `train`, which gets the rest.

    Every class gives each part its fraction, rounded, but at least one picture if it has more than two a part to give,
    and it keeps at least one for train. The result depends on the labels' order and on the seed, and on nothing else.
    """
    parts: dict[str, list[np.int64]] = {name: [] for name in ("train", *fractions)}
    generator = np.random.default_rng(seed)
    for label in np.unique(labels_N):
        positions = generator.permutation(np.flatnonzero(labels_N == label))
        start = 0
        for name, fraction in fractions.items():
            least = int(len(positions) > 2 * len(fractions))
            count = min(max(round(fraction * len(positions)), least), len(positions) - 1 - start)
            parts[name] += list(positions[start : start + count])
            start += count
        parts["train"] += list(positions[start:])
    return {name: np.sort(np.array(positions, dtype=np.int64)) for name, positions in parts.items()}
