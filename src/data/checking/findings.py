"""Everything that is wrong with a data set, from the facts about its images: classes, numbers, copies."""

import posixpath
import re

import numpy as np
import numpy.typing as npt

from src.data.checking.annotations import annotation_findings
from src.data.checking.duplicates import first_of_same, near_pairs
from src.data.checking.kinds import FEW_IMAGES, KINDS, Finding, split_of_row
from src.data.checking.look import Facts
from src.data.checking.of_targets import check_of
from src.data.folders.split_names import split_of
from src.data.module import ImageDataModule
from src.data.splits import SPLITS
from src.data.table import ImageTable
from src.data.targets import Classes, Rows, Targets
from src.settings.target_kinds import TARGET_KINDS

IMBALANCE = 10  # factor between the largest and the smallest class from which it is said
# a kind, images, the one that each is a copy of, and for which it is so
Pairs = tuple[str, Rows, Rows, npt.NDArray[np.bool_]]


def find_all(datamodule: ImageDataModule, facts: Facts, tiny_px: int, near_bits: int | None) -> list[Finding]:
    """Everything in KINDS, in its order, then by row."""
    table = datamodule.table
    found = target_findings(table, facts) + copies(table, facts, near_bits, tiny_px)
    found += [Finding(problem, row, detail=reason) for row, (problem, reason) in facts.problems.items()]
    found += [Finding("wrong_extension", row, detail=f"it is a {kind}") for row, kind in facts.wrong_suffix.items()]
    width_R, height_R = facts.images_R["width"], facts.images_R["height"]
    for place in np.flatnonzero(np.minimum(width_R, height_R) < tiny_px):
        size = f"{width_R[place]} x {height_R[place]} pixels"
        found.append(Finding("tiny", int(facts.rows[place]), detail=size))
    check = check_of(table.targets)
    found = check.findings(datamodule, facts, found) + annotation_findings(datamodule, facts.problems, check.has_places)
    order = list(KINDS)
    return sorted(found, key=lambda finding: (order.index(finding.kind), -1 if finding.row is None else finding.row))


def target_findings(table: ImageTable, facts: Facts) -> list[Finding]:
    """What there is to say about the classes or numbers of the readable images."""
    rows = {name: np.intersect1d(table.splits[name], facts.rows) for name in SPLITS if name in table.splits}
    kind = TARGET_KINDS[table.targets.kind]
    if not kind.has_classes:
        return constant_targets(table.targets.take(rows["train"]))
    counts = {name: counts_K for name in rows if (counts_K := table.targets.counts(rows[name])) is not None}
    way_out = "data.balanced_sampling=true" + ("" if kind.own_losses else " or loss.class_weights=effective")
    return wrong_levels(table) + class_findings(table.class_names, counts, way_out) if counts else []


def class_findings(class_names: list[str], counts: dict[str, npt.NDArray[np.int64]], way_out: str) -> list[Finding]:
    """`counts`: images of each class, int64 [K], by split; `way_out`: of imbalance."""
    found, train_K = list[Finding](), counts["train"]
    for k, name in enumerate(class_names):
        if train_K[k] < FEW_IMAGES:
            kind = "few_images" if train_K[k] else "class_without_training"
            found.append(Finding(kind, label=name, detail=f"{train_K[k]} in train"))
        if lacking := [split for split in counts if split != "train" and not counts[split][k]]:
            found.append(Finding("class_not_measured", label=name, detail=f"none in {' and '.join(lacking)}"))
    most, least = int(train_K.argmax()), int(train_K.argmin())
    if train_K[least] and train_K[most] >= IMBALANCE * train_K[least]:
        detail = (
            f"{train_K[most]} training images of {class_names[most]}, {train_K[least]} of "
            f"{class_names[least]}: {way_out} may help"
        )
        found.append(Finding("imbalance", label=class_names[least], detail=detail))
    return found


def constant_targets(train: Targets) -> list[Finding]:
    """Numbers of which there is nothing to learn."""
    return [
        Finding("constant_target", label=name, detail=f"it is {values_N[0]:g} everywhere")
        for name, values_N in zip(train.names, train.values.T, strict=True)
        if len(values_N) and (values_N == values_N[0]).all()
    ]


def wrong_levels(table: ImageTable) -> list[Finding]:
    """Signs that what is taken for classes are splits, cameras, parts of a data set, or one class in two spellings."""
    found = []
    splits = {name: split_of(name) for name in table.class_names if split_of(name)}
    if len(set(splits.values())) > 1:
        found += [Finding("wrong_level", label=name, detail=f"it is a usual name of {splits[name]}") for name in splits]
    names_of: dict[str, list[str]] = {}
    for name in table.class_names:
        names_of.setdefault(re.sub(r"[\s_-]+", " ", name.casefold()), []).append(name)
    for names in names_of.values():
        if len(names) > 1:
            found.append(Finding("alike_names", label=names[0], detail=f"beside {', '.join(names[1:])}"))
    if isinstance(table.targets, Classes) and table.root is not None:
        folders_of_class: dict[int, set[str]] = {}
        for path, label in zip(table.paths.tolist(), table.targets.values.tolist(), strict=True):
            folders_of_class.setdefault(label, set()).add(posixpath.basename(posixpath.dirname(path)))
        shared = next(iter(folders_of_class.values()))
        if len(shared) > 1 and len(folders_of_class) > 1 and all(f == shared for f in folders_of_class.values()):
            detail = f"{', '.join(sorted(shared)[:5])}: are these the classes?"
            found.append(Finding("same_subfolders", label=table.class_names[0], detail=detail))
    return found


def copies(table: ImageTable, facts: Facts, near_bits: int | None, tiny_px: int) -> list[Finding]:
    """Each image that occurs elsewhere, once for each kind that applies.

    Of two copies it is the one in the later split (train, val, test), or else in the later row, that is reported, with
    the other beside it. Near duplicates are looked for between images of different bytes that are not tiny, since
    small drawings are all alike; `near_bits` None = not.
    """
    split_N = split_of_row(table)
    order = np.lexsort((facts.rows, split_N[facts.rows]))  # so that the first of equal ones is in train, if any is
    rows, split, images = facts.rows[order], split_N[facts.rows][order], facts.images_R[order]
    original = first_of_same(images["digest"])
    one = np.flatnonzero(original != np.arange(len(rows)))
    other = original[one]
    conflict, leak = table.targets.differ(rows[one], rows[other]), split[one] != split[other]
    pieces: list[Pairs] = [
        ("label_conflict", one, other, conflict),
        ("leak", one, other, leak),
        ("duplicate", one, other, ~conflict & ~leak),
    ]
    if near_bits is not None and len(rows):
        unique = np.unique(original)
        unique = unique[np.minimum(images["width"], images["height"])[unique] >= tiny_px]
        of = images[unique]
        pairs = unique[near_pairs(of["bits"], of["gray"], of["chroma"], near_bits)]
        pieces += nearly_same(table, rows, split, original, pairs)
    found = []
    for kind, one, other, which in pieces:
        mine, first = np.unique(one[which], return_index=True)  # the first partner of each is enough
        partners = other[which][first]
        for row, partner in zip(rows[mine].tolist(), rows[partners].tolist(), strict=True):
            detail = copy_detail(table, split_N, row, partner)
            if kind == "label_conflict" and table.targets.text(row) == table.targets.text(partner):
                detail += f"; {table.targets.unlike}"
            found.append(Finding(kind, row, partner, detail=detail))
    return found


def nearly_same(
    table: ImageTable, rows: Rows, split: npt.NDArray[np.int8], original: Rows, pairs: npt.NDArray[np.int64]
) -> list[Pairs]:
    """`original`: position of the first image with the same bytes, for each position of `rows` and `split`.

    `pairs` [P, 2]: positions of near duplicates, the lower one first.
    """
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
