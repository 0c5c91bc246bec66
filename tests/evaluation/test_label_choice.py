"""Which images are chosen for labels: doubtful ones, and not the same thing many times."""

import numpy as np

from src.evaluation.label_choice import chosen, number_looked_at


def vectors(*angles: float) -> np.ndarray:
    return np.array([[np.cos(a), np.sin(a)] for a in angles], dtype=np.float32)


def test_copies_are_chosen_once() -> None:
    """Twelve copies in three places; the length of a vector says nothing."""
    vectors_NC = vectors(*[0.0] * 8, 1.5, 1.5, 3.0, 3.0) * np.linspace(1, 9, 12, dtype=np.float32)[:, None]
    doubts_N = np.linspace(1, 0.5, 12, dtype=np.float32)
    found = chosen(doubts_N, vectors_NC, 3, among=12)
    assert sorted(np.searchsorted([8, 10], found, side="right").tolist()) == [0, 1, 2]
    assert len(set(chosen(doubts_N, vectors_NC, 5, among=12).tolist())) == 5  # more than there are places
    assert chosen(doubts_N, vectors_NC, 3, among=12).tolist() == found.tolist()


def test_sure_ones_are_left_out() -> None:
    generator = np.random.default_rng(0)
    doubts_N = generator.random(400).astype(np.float32)
    vectors_NC = generator.normal(size=(400, 8)).astype(np.float32)
    among = number_looked_at(400, 5)
    found = chosen(doubts_N, vectors_NC, 5, among)
    assert among == 50 and doubts_N[found].min() >= np.sort(doubts_N)[-50]
    assert doubts_N[found].tolist() == sorted(doubts_N[found].tolist(), reverse=True)


def test_how_many_are_looked_at() -> None:
    assert [number_looked_at(images, 50) for images in (30, 60, 1000, 100_000)] == [30, 50, 250, 500]
    assert chosen(np.ones(4, dtype=np.float32), vectors(1, 2, 3, 4), 9, among=4).tolist() == [0, 1, 2, 3]
