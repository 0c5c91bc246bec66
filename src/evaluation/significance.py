"""How likely a mean or a difference is by chance: Student's t, permutations of signs, McNemar's test. No scipy."""

import math
import statistics
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


def t_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the mean of at least two independent values."""
    standard_error = statistics.stdev(values) / math.sqrt(len(values))
    half_width = t_quantile(confidence, len(values) - 1) * standard_error
    return statistics.mean(values) - half_width, statistics.mean(values) + half_width


def t_quantile(confidence: float, df: int) -> float:
    """The t with P(|T| <= t) = confidence, by bisection."""
    low, high = 0.0, 1.0
    while t_tails(high, df) > 1 - confidence:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_tails(middle, df) > 1 - confidence else (low, middle)
    return high


def t_tails(t: float, df: int) -> float:
    """P(|T| > t), t >= 0, for whole degrees of freedom: the closed sums 26.7.3 and 26.7.4 of Abramowitz & Stegun."""
    angle, odd = math.atan(t / math.sqrt(df)), df % 2
    term = math.cos(angle) if odd else 1.0
    total = term if df > 1 else 0.0
    for k in range(2 + odd, df - 1, 2):
        term *= (k - 1) / k * math.cos(angle) ** 2
        total += term
    inside = math.sin(angle) * total
    return max(0.0, 1 - (2 / math.pi * (angle + inside) if odd else inside))
