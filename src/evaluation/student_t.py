"""Student's t: the confidence interval of a mean of few values, and how likely a mean is by chance. No scipy."""

import math
import statistics
from collections.abc import Sequence


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
