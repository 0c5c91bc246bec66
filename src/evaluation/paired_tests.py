"""Whether a difference between paired values is more than chance."""

from collections.abc import Sequence

import numpy as np

EXACT_UP_TO, DRAWS = 16, 20_000


def sign_flip_p(differences: Sequence[float], tolerance: float = 0.0) -> float:
    """How often random signs give a mean at least as far from zero: the two-sided p that A and B are interchangeable.

    Exact, over all 2^n signs, for up to 16 differences [n]; from 20,000 drawn ones and the given one beyond that.
    `tolerance` is the rounding error of one difference: patterns within it count as ties.
    """
    d_N = np.asarray(differences, dtype=np.float64)
    n = len(d_N)
    if n <= EXACT_UP_TO:
        signs_PN = 1 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        sums_P = np.abs(signs_PN @ d_N)
    else:
        generator, part = np.random.default_rng(0), 500  # patterns at a time: there may be many differences
        sums = [generator.choice([-1.0, 1.0], size=(part, n)) @ d_N for _ in range(DRAWS // part)]
        sums_P = np.abs(np.concatenate([[d_N.sum()], *sums]))
    return float(np.mean(sums_P >= abs(d_N.sum()) - n * max(tolerance, 1e-12 * np.abs(d_N).max())))


def smallest_p(n: int) -> float:
    """All differences of one sign: two of the 2^n patterns."""
    return max(0.5 ** (n - 1), 0.0 if n <= EXACT_UP_TO else 1 / (DRAWS + 1))


def mcnemar_p(a_alone: int, b_alone: int) -> float:
    """Exact two-sided p that an image on which just one of two models is right is either's with probability 1/2."""
    n, term, tail = a_alone + b_alone, 1, 1  # term is n over k, in whole numbers; math.comb for each k is slow
    for k in range(1, min(a_alone, b_alone) + 1):
        term = term * (n - k + 1) // k
        tail += term
    return min(1.0, 2 * tail / (1 << n))


def p_text(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"= {p:.3g}"
