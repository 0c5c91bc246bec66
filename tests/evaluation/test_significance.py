"""Tests of differences, against published numbers."""

import numpy as np
import pytest

from src.evaluation.significance import mcnemar_p, sign_flip_p, smallest_p, t_interval, t_tails

# Heights of crossed minus self-fertilised maize in eighths of an inch: Darwin 1876, in Fisher 1935, Design of
# Experiments, section 21: of the 32,768 signs, 863 give a sum of 314 or more.
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def test_sign_flips_as_fisher_counted_them() -> None:
    assert sign_flip_p(DARWIN) == 2 * 863 / 32768
    assert sign_flip_p([-d for d in DARWIN]) == 2 * 863 / 32768
    assert sign_flip_p([1, 2, 3, 4, 5]) == 2 / 32 == smallest_p(5)
    assert sign_flip_p([1, 2, -3]) == 1  # the sum is 0
    assert sign_flip_p([1, 1, 2, -1]) == 8 / 16  # sums of 3 or more: 5 once, 3 three times


def test_sign_flips_count_ties_despite_float32() -> None:
    """Of 153 images one more, one more, one fewer, as float32: every sum of signs is that of one image or more."""
    a, b = np.float32([81, 38, 118]) / np.float32(153), np.float32([82, 39, 117]) / np.float32(153)
    differences = [float(y) - float(x) for x, y in zip(a, b, strict=True)]
    assert sign_flip_p(differences) < sign_flip_p(differences, 1e-6) == 1


def test_many_sign_flips_are_drawn() -> None:
    """Two zeros more change nothing; 20,000 draws, three standard deviations of which are 0.0047."""
    p = sign_flip_p([*DARWIN, 0, 0])
    assert p == pytest.approx(2 * 863 / 32768, abs=0.0047) and p == sign_flip_p([*DARWIN, 0, 0])
    assert sign_flip_p(list(range(1, 31))) == 1 / 20001 == smallest_p(30)


def test_exact_mcnemar() -> None:
    assert mcnemar_p(1, 9) == mcnemar_p(9, 1) == 2 * (1 + 10) / 2**10
    assert mcnemar_p(0, 6) == 2 / 2**6
    assert mcnemar_p(5, 5) == mcnemar_p(0, 0) == 1
    assert mcnemar_p(20_000, 20_200) == pytest.approx(0.32094, abs=1e-5)  # normal: z = 199 / sqrt(40200)


def test_paired_t_of_darwins_maize() -> None:
    """Fisher 1935, section 17: t = 2.148, hardly beyond the 5 per cent point of 2.145 for 14 degrees of freedom."""
    assert t_tails(2.148, 14) == pytest.approx(0.0497, abs=1e-4)
    assert 0 < t_interval(DARWIN)[0] < 0.1
