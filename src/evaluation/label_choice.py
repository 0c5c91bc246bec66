"""Which images to label next: those that the model is unsure of, and of these not many that are alike. No torch.

Weighted k-means among the least sure (Zhdanov 2019, "Diverse mini-batch active learning", arXiv 1901.05954).
Shapes: N images, C channels.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
TIMES, SHARE = 10, 0.25  # so many times the wanted images are looked at, and at most this share of all
ROUNDS = 20  # of k-means
LEAST = 1e-6  # weight of an image of which the model is sure


def number_looked_at(images: int, wanted: int) -> int:
    """Of so many images, how many of the most doubtful ones are worth a closer look."""
    return min(images, max(wanted, min(TIMES * wanted, int(SHARE * images))))


def chosen(doubts_N: Floats, embeddings_NC: Floats, wanted: int, among: int) -> Ints:
    """`wanted` of the images, or all if there are fewer, the most doubtful first; the same ones at each call.

    `among`: the most doubtful, of which they are chosen. Embeddings count by their direction alone.
    """
    looked_at: Ints = np.argsort(-doubts_N, kind="stable")[:among]
    if len(looked_at) <= wanted:
        return looked_at
    vectors_MC = embeddings_NC[looked_at]
    vectors_MC = vectors_MC / np.maximum(np.linalg.norm(vectors_MC, axis=1, keepdims=True), 1e-12)
    weights_M = np.maximum(doubts_N[looked_at], LEAST)
    centres_KC = weighted_means(vectors_MC, weights_M, wanted)
    found_K = nearest_to_each(centres_KC, vectors_MC)
    rest_M = np.setdiff1d(np.arange(len(looked_at)), found_K)  # where the images are copies of fewer than are wanted
    picked: Ints = looked_at[np.sort(np.concatenate([found_K, rest_M[: wanted - len(found_K)]]))]
    return picked


def weighted_means(vectors_MC: Floats, weights_M: Floats, number: int) -> Floats:
    """Centres of k-means [number, C], from a start as of k-means++ (Arthur and Vassilvitskii 2007)."""
    generator = np.random.default_rng(0)
    first = int(weights_M.argmax())
    picked, distances_M = [first], squared(vectors_MC, vectors_MC[[first]])[:, 0]
    while len(picked) < number:
        shares_M = distances_M * weights_M
        if not (total := shares_M.sum()):  # the rest are copies
            break
        drawn = int(np.searchsorted(np.cumsum(shares_M / total), generator.random()))
        picked.append(min(drawn, len(shares_M) - 1))
        distances_M = np.minimum(distances_M, squared(vectors_MC, vectors_MC[picked[-1:]])[:, 0])
    centres_KC = vectors_MC[picked]
    before_M: npt.NDArray[Any] | None = None
    for _ in range(ROUNDS):
        nearest_M = squared(vectors_MC, centres_KC).argmin(axis=1)
        if before_M is not None and np.array_equal(nearest_M, before_M):
            break
        before_M = nearest_M
        sums_KC = np.zeros_like(centres_KC)
        np.add.at(sums_KC, nearest_M, vectors_MC * weights_M[:, None])
        totals_K = np.bincount(nearest_M, weights=weights_M, minlength=len(picked))[:, None]
        centres_KC = np.where(totals_K > 0, sums_KC / np.maximum(totals_K, LEAST), centres_KC).astype(np.float32)
    return centres_KC


def nearest_to_each(centres_KC: Floats, vectors_MC: Floats) -> Ints:
    """Another image for each centre."""
    distances_MK = squared(vectors_MC, centres_KC)
    found = []
    for k in range(len(centres_KC)):
        n = int(distances_MK[:, k].argmin())
        found.append(n)
        distances_MK[n] = np.inf
    return np.array(found, dtype=np.int64)


def squared(one_MC: Floats, other_KC: Floats) -> Floats:
    """Squared distances [M, K] of vectors of length 1 or less."""
    sums_MK = np.square(one_MC).sum(axis=1)[:, None] + np.square(other_KC).sum(axis=1)
    distances_MK: Floats = np.maximum(sums_MK - 2 * one_MC @ other_KC.T, 0)
    return distances_MK
