"""Cutting a set of labelled pictures into train, val and test."""

import numpy as np
import numpy.typing as npt

SPLITS = ("train", "val", "test")


def stratified_cut(
    labels_N: npt.NDArray[np.int64], fractions: dict[str, float], seed: int
) -> dict[str, npt.NDArray[np.int64]]:
    """Positions, sorted, of each named part and of `train`, which gets the rest and at least one picture a class.

    Every class gives each part its fraction, rounded; a class of two pictures or more never goes without training
    pictures. The result depends on the labels' order and on the seed, and on nothing else.
    """
    parts: dict[str, list[np.int64]] = {name: [] for name in ("train", *fractions)}
    generator = np.random.default_rng(seed)
    for label in np.unique(labels_N):
        positions = generator.permutation(np.flatnonzero(labels_N == label))
        start = 0
        for name, fraction in fractions.items():
            count = min(round(fraction * len(positions)), len(positions) - 1 - start)
            parts[name] += list(positions[start : start + count])
            start += count
        parts["train"] += list(positions[start:])
    return {name: np.sort(np.array(positions, dtype=np.int64)) for name, positions in parts.items()}
