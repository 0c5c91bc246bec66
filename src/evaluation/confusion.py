"""Which classes are taken for which: counts by true and predicted class. numpy only.

Only pairs that occur are kept: P of them, at most one per image. A matrix of 21,841 classes (ImageNet) takes 3.8 GB.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ConfusionCounts:
    """`counts_P`: images of the class `true_P` that got the answer `predicted_P`, ordered by both; all > 0."""

    classes: int
    true_P: Ints
    predicted_P: Ints
    counts_P: Ints

    def _of_each_class(self, class_P: Ints, counts_P: Ints) -> Ints:
        return np.bincount(class_P, weights=counts_P, minlength=self.classes).astype(np.int64)

    @property
    def true_counts(self) -> Ints:
        """Images of each class [K]."""
        return self._of_each_class(self.true_P, self.counts_P)

    @property
    def predicted_counts(self) -> Ints:
        """Images that got each class as their answer [K]."""
        return self._of_each_class(self.predicted_P, self.counts_P)

    @property
    def right_counts(self) -> Ints:
        """Images of each class that were answered rightly [K]."""
        right_P = self.true_P == self.predicted_P
        return self._of_each_class(self.true_P[right_P], self.counts_P[right_P])

    def matrix(self) -> Ints:
        """[K, K]: true class by row, predicted class by column."""
        matrix_KK = np.zeros((self.classes, self.classes), dtype=np.int64)
        matrix_KK[self.true_P, self.predicted_P] = self.counts_P
        return matrix_KK

    def renumbered(self, numbers_K: Ints, classes: int) -> "ConfusionCounts":
        """With class k as class `numbers_K[k]`; classes that get the same number are counted together."""
        return _add_up(numbers_K[self.true_P], numbers_K[self.predicted_P], self.counts_P, classes)

    def most_confused(self, most: int) -> list[tuple[int, int, int]]:
        """(true class, predicted class, images) of the commonest mistakes, commonest first."""
        wrong = np.flatnonzero(self.true_P != self.predicted_P)
        wrong = wrong[np.argsort(-self.counts_P[wrong], kind="stable")][:most]
        return [(int(self.true_P[p]), int(self.predicted_P[p]), int(self.counts_P[p])) for p in wrong]

    def neighbouring_order(self) -> list[int]:
        """The classes in an order in which those that are mistaken for each other lie side by side.

        Greedy: joins chains of classes at their ends, the commonest confusion first.
        """
        low_P, high_P = np.minimum(self.true_P, self.predicted_P), np.maximum(self.true_P, self.predicted_P)
        mistaken_P = low_P != high_P
        both = _add_up(low_P[mistaken_P], high_P[mistaken_P], self.counts_P[mistaken_P], self.classes)
        common = np.argsort(-both.counts_P, kind="stable")
        chain_of = {k: [k] for k in range(self.classes)}
        for a, b in zip(both.true_P[common].tolist(), both.predicted_P[common].tolist(), strict=True):
            first, second = chain_of[a], chain_of[b]
            if first is second or a not in (first[0], first[-1]) or b not in (second[0], second[-1]):
                continue
            joined = (first if first[-1] == a else first[::-1]) + (second if second[0] == b else second[::-1])
            for k in joined:
                chain_of[k] = joined
        chains = {id(chain): chain for chain in chain_of.values()}
        return [k for chain in chains.values() for k in chain]


def count_confusions(predicted_N: Ints, labels_N: Ints, classes: int) -> ConfusionCounts:
    """Of images with these answers and these true classes."""
    return _add_up(labels_N, predicted_N, np.ones(len(labels_N), dtype=np.int64), classes)


def _add_up(true_P: Ints, predicted_P: Ints, counts_P: Ints, classes: int) -> ConfusionCounts:
    pairs_P, place_P = np.unique(true_P * classes + predicted_P, return_inverse=True)
    sums_P = np.bincount(place_P, weights=counts_P, minlength=len(pairs_P)).astype(np.int64)
    return ConfusionCounts(classes, pairs_P // classes, pairs_P % classes, sums_P)
