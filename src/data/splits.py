"""Cutting labelled images into train, val and test: stratified, by group, in folds."""

from typing import Any

import numpy as np
import numpy.typing as npt

from src.data.targets import Classes, Rows, Targets
from src.settings.errors import ConfigError

SPLITS = ("train", "val", "test")
Groups = npt.NDArray[np.int64] | None  # of each image, [N]; None = each image on its own
MISSED_SHARE = 0.1  # by which a part may miss its fraction, relatively


def cut(strata: npt.NDArray[Any], fractions: dict[str, float], seed: int, groups_N: Groups = None) -> dict[str, Rows]:
    """Positions, sorted, of each named part and of `train`, which gets the rest.

    Strata are spread evenly over the parts. A group goes to one part whole. The result depends on strata, groups and
    seed alone. `strata` are as in `Targets.strata`, `fractions` the shares of the images, 0..1, by name of the part.
    """
    if not fractions:
        return {"train": np.arange(len(strata))}
    if groups_N is not None:
        return group_cut(strata, groups_N, fractions, seed)
    return stratified_cut(strata, fractions, seed) if strata.ndim == 1 else combined_cut(strata, fractions, seed)


def stratified_cut(labels_N: npt.NDArray[np.int64], fractions: dict[str, float], seed: int) -> dict[str, Rows]:
    """Every class gives each part its fraction, rounded, but at least one image if it has more than two per part to
    give, and it keeps at least one for train. Where rounding so would miss the fractions of all images by much, as with
    many classes of three or four, see `shared_counts`.
    """
    generator = np.random.default_rng(seed)
    order_K = [generator.permutation(np.flatnonzero(labels_N == label)) for label in np.unique(labels_N)]
    sizes_K = np.array([len(positions) for positions in order_K])
    counts_KP = rounded_counts(sizes_K, list(fractions.values()))
    wanted_P = np.array(list(fractions.values())) * len(labels_N)
    if np.any(np.abs(counts_KP.sum(axis=0) - wanted_P) > np.maximum(MISSED_SHARE * wanted_P, 1)):
        counts_KP = shared_counts(sizes_K, list(fractions.values()), seed)
    parts: dict[str, list[Rows]] = {name: [] for name in ("train", *fractions)}
    for positions, counts_P in zip(order_K, counts_KP, strict=True):
        *given, rest = np.split(positions, np.cumsum(counts_P))
        for name, part in zip(fractions, given, strict=True):
            parts[name].append(part)
        parts["train"].append(rest)
    return {name: np.sort(np.concatenate(positions)) for name, positions in parts.items()}


def rounded_counts(sizes_K: npt.NDArray[np.int64], fractions: list[float]) -> npt.NDArray[np.int64]:
    """Images that each class gives to each part, int64 [K, P], class by class."""
    counts_KP = np.zeros((len(sizes_K), len(fractions)), dtype=np.int64)
    for k, size in enumerate(sizes_K.tolist()):
        least = int(size > 2 * len(fractions))
        for p, fraction in enumerate(fractions):
            counts_KP[k, p] = min(max(round(fraction * size), least), size - 1 - counts_KP[k].sum())
    return counts_KP


def shared_counts(sizes_K: npt.NDArray[np.int64], fractions: list[float], seed: int) -> npt.NDArray[np.int64]:
    """Images that each class gives to each part, int64 [K, P], so that all classes together give its fraction.

    Every class gives its fraction rounded down, and those one more that then owe most (largest remainders), at random
    among equals. Every class keeps one image for train; those with a single image give none and do not count.
    """
    generator = np.random.default_rng([seed, 1])
    counts_KP = np.zeros((len(sizes_K), len(fractions)), dtype=np.int64)
    owed_K = np.zeros(len(sizes_K))  # what was rounded away of the parts so far
    givers_K = sizes_K > 1
    for p, fraction in enumerate(fractions):
        exact_K = fraction * sizes_K * givers_K
        free_K = np.maximum(sizes_K - 1 - counts_KP.sum(axis=1), 0)
        counts_KP[:, p] = np.minimum(np.floor(exact_K), free_K)
        owed_K += exact_K - counts_KP[:, p]
        lacking = max(round(exact_K.sum()), 1) - int(counts_KP[:, p].sum())
        order_K = np.lexsort((generator.random(len(sizes_K)), -np.round(owed_K, 6)))
        chosen = order_K[(free_K - counts_KP[:, p] > 0)[order_K]][: max(lacking, 0)]
        counts_KP[chosen, p] += 1
        owed_K[chosen] -= 1
    return counts_KP


def combined_cut(labels_NK: npt.NDArray[np.uint8], fractions: dict[str, float], seed: int) -> dict[str, Rows]:
    """The rarest label first, its images go to the parts that still lack it most; then those without any label.

    After Sechidis et al. 2011, "On the stratification of multi-label data", but all images of the same labels at once.
    """
    generator = np.random.default_rng(seed)
    shares_P = np.array([1 - sum(fractions.values()), *fractions.values()])
    wanted_KP = labels_NK.sum(axis=0, dtype=np.int64)[:, None] * shares_P
    wanted_P = len(labels_NK) * shares_P
    part_N = np.full(len(labels_NK), -1)
    combinations_CK, of_N = np.unique(labels_NK, axis=0, return_inverse=True)
    members = np.split(np.argsort(of_N, kind="stable"), np.bincount(of_N).cumsum()[:-1])
    waiting = set(range(len(combinations_CK)))
    for label in [*np.argsort(wanted_KP.sum(axis=1), kind="stable"), None]:
        for combination in sorted(c for c in waiting if label is None or combinations_CK[c, label]):
            waiting.remove(combination)
            lacking_P = np.maximum(wanted_P if label is None else wanted_KP[label], 0)
            order = generator.permutation(members[combination])
            ends = largest_remainders(lacking_P if lacking_P.sum() > 0 else shares_P, len(order)).cumsum()
            for part, positions in enumerate(np.split(order, ends[:-1])):
                part_N[positions] = part
                wanted_KP[:, part] -= combinations_CK[combination] * float(len(positions))
                wanted_P[part] -= len(positions)
    return {name: np.flatnonzero(part_N == part) for part, name in enumerate(("train", *fractions))}


def largest_remainders(weights_P: npt.NDArray[np.float64], total: int) -> npt.NDArray[np.int64]:
    """Whole numbers in proportion to the weights that add up to `total`."""
    exact_P = weights_P / weights_P.sum() * total
    counts_P: npt.NDArray[np.int64] = np.floor(exact_P).astype(np.int64)
    counts_P[np.argsort(counts_P - exact_P, kind="stable")[: total - counts_P.sum()]] += 1
    return counts_P


def group_cut(strata: npt.NDArray[Any], groups_N: Rows, fractions: dict[str, float], seed: int) -> dict[str, Rows]:
    """Group by group, largest first, equal ones in random order: each goes where classes and images lack most."""
    names = ("train", *fractions)
    shares_P = np.array([1 - sum(fractions.values()), *fractions.values()])
    _, group_N = np.unique(groups_N, return_inverse=True)
    groups = int(group_N.max()) + 1
    if groups < len(names):
        raise ConfigError(
            f"The {groups} groups cannot be cut into {len(names)} parts ({', '.join(names)}): data.group_column=null "
            "cuts without groups; data.val_fraction=0 or data.test_fraction=0 asks for fewer parts."
        )
    # Classes [N, K], and one column more that counts every image.
    classes_NK = np.eye(int(strata.max()) + 1, dtype=np.uint8)[strata] if strata.ndim == 1 else strata
    counts_GK = np.zeros((groups, classes_NK.shape[1] + 1))
    np.add.at(counts_GK[:, :-1], group_N, classes_NK)
    counts_GK[:, -1] = np.bincount(group_N)
    total_K = np.maximum(counts_GK.sum(axis=0), 1)
    have_PK = np.zeros((len(names), counts_GK.shape[1]))
    order = np.random.default_rng(seed).permutation(groups)
    part_G = np.zeros(groups, dtype=np.int64)
    for group in order[np.argsort(-counts_GK[order, -1], kind="stable")]:
        # The squared distance from the wished shares, summed over classes, after giving the group to each part.
        share_K = counts_GK[group] / total_K
        gain_P = ((shares_P[:, None] - have_PK) * share_K).sum(axis=1) / shares_P
        part = int(np.argmax(gain_P))
        part_G[group] = part
        have_PK[part] += share_K
    for part in range(len(names)):  # a few large groups must not leave a part with nothing
        if not (part_G == part).any():
            donor = np.bincount(part_G, minlength=len(names)).argmax()
            candidates = np.flatnonzero(part_G == donor)
            part_G[candidates[np.argmin(counts_GK[candidates, -1])]] = part
    return {name: np.flatnonzero(part_G[group_N] == part) for part, name in enumerate(names)}


def fold(targets: Targets, folds: int, index: int, seed: int, groups_N: Groups = None) -> tuple[Rows, Rows]:
    """Positions (train, val) of fold `index` out of `folds`: every image is in val exactly once."""
    strata = targets.strata(np.arange(len(targets)))
    if isinstance(targets, Classes) and groups_N is None:
        # Class after class, shuffled, dealt out in turn: parts differ by one image, of each class and in all.
        generator = np.random.default_rng(seed)
        dealt = np.concatenate([generator.permutation(np.flatnonzero(strata == k)) for k in np.unique(strata)])
        val = np.sort(dealt[index::folds])
    else:
        parts = cut(strata, {f"{part}": 1 / folds for part in range(1, folds)}, seed, groups_N)
        val = list(parts.values())[index]
    if not len(val) or len(val) == len(strata):
        raise ConfigError(f"data.folds={folds}: fold {index} is empty; there are too few images or groups.")
    return np.setdiff1d(np.arange(len(strata)), val), val
