"""What images are labelled with: the three kinds, and that a kind which moves with the pixels would fit in."""

import numpy as np
import pytest
import torch

from src.data.dataset import Collate
from src.data.samplers import mixed_seed
from src.data.targets import Classes, Numbers, Tags, Targets
from src.settings.options import tasks_for

ALL = np.arange(4)
KINDS: dict[str, Targets] = {
    "classes": Classes(np.array([0, 1, 1, 2]), ["a", "b", "c"]),
    "tags": Tags(np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 1, 0]], dtype=np.uint8), ["a", "b", "c"]),
    "numbers": Numbers(np.array([[1, 2], [3, 5], [3, 4], [9, 8]], dtype=np.float32), ["age", "size"]),
}


@pytest.mark.parametrize(
    ("kind", "texts", "counts", "described"),
    [
        ("classes", ["a", "b", "b", "c"], [1, 2, 1], "Classes in train: b 2, c 1, a 1"),
        ("tags", ["a;c", "", "b", "b"], [1, 2, 1], "Classes in train: b 2, c 1, a 1"),
        (
            "numbers",
            ["1;2", "3;5", "3;4", "9;8"],
            None,
            "Targets in train: age 1 to 9, mean 4; size 2 to 8, mean 4.75",
        ),
    ],
)
def test_what_a_kind_says(kind: str, texts: list[str], counts: list[int] | None, described: str) -> None:
    targets = KINDS[kind]
    assert targets.kind == kind and len(targets) == 4 and [targets.text(row) for row in range(4)] == texts
    found = targets.counts(ALL)
    assert found is None if counts is None else found is not None and found.tolist() == counts
    assert targets.describe(ALL) == described
    part = targets.take(np.array([3, 0]))
    assert [part.text(row) for row in range(2)] == [texts[3], texts[0]] and part.names == targets.names
    assert targets.digest(ALL) != targets.digest(ALL[::-1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_has_the_targets_of_its_images_also_without_any(kind: str) -> None:
    targets = KINDS[kind]
    stacked = targets.stack([targets.sample(row, (8, 8)) for row in (2, 0)])
    np.testing.assert_array_equal(stacked, targets.values[[2, 0]])
    none = targets.stack([])
    assert isinstance(none, np.ndarray) and none.shape == (0, *targets.values.shape[1:])
    assert none.dtype == targets.values.dtype


def test_copies_contradict_each_other() -> None:
    one, other = np.array([1, 1, 2]), np.array([1, 2, 3])
    assert KINDS["classes"].differ(one, other).tolist() == [False, False, True]
    assert KINDS["tags"].differ(one, other, near=True).tolist() == [False, True, False]
    assert KINDS["numbers"].differ(one, other).tolist() == [False, True, True]
    assert not KINDS["numbers"].differ(one, other, near=True).any()  # nearly the same image may measure otherwise
    for targets in KINDS.values():
        assert targets.differ(ALL[:0], ALL[:0]).shape == (0,)


def test_numbers_are_spread_by_ranges_of_the_first() -> None:
    numbers = Numbers(np.arange(200, dtype=np.float32)[:, None] * [1, -1], ["up", "down"])
    strata_N = numbers.strata(np.arange(200))
    assert strata_N.dtype == np.int64 and np.bincount(strata_N).tolist() == [20] * 10


def test_images_of_different_sizes_are_listed() -> None:
    images = [torch.zeros(3, side, 8, dtype=torch.uint8) for side in (8, 9)]
    batch = Collate(8, KINDS["classes"])([{"image": i, "label": 0, "index": 0, "unreadable": []} for i in images])
    assert [image.shape[1] for image in batch["image"]] == [8, 9] and batch["label"].tolist() == [0, 0]


def test_one_way_of_mixing_seeds() -> None:
    """The numbers that runs have had so far: a resumed run goes on with them."""
    assert mixed_seed(3, 7) == 3 * 1_000_003 + 7
    assert mixed_seed(1, 2, 3) == (1_000_003 + 2) * 1_000_003 + 3
    assert mixed_seed(2**32, 2**32, 2**32) < 2**63


def test_messages_name_the_tasks_that_there_are() -> None:
    assert tasks_for("tags") == "task=multilabel"
    assert tasks_for("tags", "numbers") == "task=multilabel or task=regression"
