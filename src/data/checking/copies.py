"""Which images of a data set are copies of others, and what that means for training on it."""

import numpy as np
import numpy.typing as npt

from src.data.checking.duplicates import first_of_same, near_pairs
from src.data.checking.kinds import Finding, split_of_row
from src.data.checking.look import Facts
from src.data.splits import SPLITS
from src.data.table import ImageTable
from src.data.targets import Rows

Mask = npt.NDArray[np.bool_]
Pairs = tuple[str, Rows, Rows, Mask]  # a kind, images, the one that each is a copy of, and for which it is so


def copies(table: ImageTable, facts: Facts, near_bits: int | None, tiny_px: int) -> list[Finding]:
    """Each image that occurs elsewhere, once for each kind that applies.

    Of two copies it is the one in the later split (train, val, test), or else in the later row, that is reported, with
    the other beside it. Near duplicates are looked for between images of different bytes that are not tiny, since
    small drawings are all alike; `near_bits` None = not.
    """
    split_N = split_of_row(table)
    order = np.lexsort((facts.rows, split_N[facts.rows]))  # so that the first of equal ones is in train, if any is
    rows, split = facts.rows[order], split_N[facts.rows][order]
    original = first_of_same(facts.digests_RB[order])
    pieces = same_bytes(table, rows, split, original)
    if near_bits is not None and len(rows):
        unique = np.unique(original)
        unique = unique[np.minimum(facts.width_R, facts.height_R)[order[unique]] >= tiny_px]
        of = order[unique]
        pairs = unique[near_pairs(facts.bits_RB[of], facts.gray_RP[of], facts.chroma_RP[of], near_bits)]
        pieces += nearly_same(table, rows, split, original, pairs)
    found = []
    for kind, one, other, which in pieces:
        mine, first = np.unique(one[which], return_index=True)  # the first partner of each is enough
        partners = other[which][first]
        for row, partner in zip(rows[mine].tolist(), rows[partners].tolist(), strict=True):
            found.append(Finding(kind, row, partner, detail=copy_detail(table, split_N, row, partner)))
    return found


def same_bytes(table: ImageTable, rows: Rows, split: npt.NDArray[np.int8], original: Rows) -> list[Pairs]:
    """`original`: position of the first image with the same bytes, for each position of `rows` and `split`."""
    one = np.flatnonzero(original != np.arange(len(rows)))
    other = original[one]
    conflict, leak = table.targets.differ(rows[one], rows[other]), split[one] != split[other]
    return [
        ("label_conflict", one, other, conflict),
        ("leak", one, other, leak),
        ("duplicate", one, other, ~conflict & ~leak),
    ]


def nearly_same(
    table: ImageTable, rows: Rows, split: npt.NDArray[np.int8], original: Rows, pairs: npt.NDArray[np.int64]
) -> list[Pairs]:
    """`pairs` [P, 2]: positions of near duplicates, the lower one first."""
    other, one = pairs.reshape(-1, 2).T
    # All copies of a near duplicate leak with it.
    nearest = np.full(len(rows), -1)  # of each original: the near duplicate in the earliest split
    nearest[one[::-1]] = other[::-1]
    leaking = np.flatnonzero((split[original] == split) & (nearest[original] >= 0))
    source = nearest[original[leaking]]
    conflict = table.targets.differ(rows[one], rows[other], near=True)
    return [
        ("near_leak", leaking, source, split[source] < split[leaking]),
        ("near_label_conflict", one, other, conflict),
        ("near_duplicate", one, other, ~conflict & (split[one] == split[other])),
    ]


def copy_detail(table: ImageTable, split_N: npt.NDArray[np.int8], row: int, other: int) -> str:
    text, label = f"the other is in {SPLITS[split_N[other]]}", table.targets.text(other)
    if label != table.targets.text(row):
        text += f" with the label {label or '(none)'}"
    return f"{text}; listed twice" if table.paths[row] == table.paths[other] else text
