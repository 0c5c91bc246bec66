"""What is wrong with a data set, from the facts about its images, and whether to train on it."""

import posixpath
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from src.data.checking.duplicates import first_of_same, near_pairs
from src.data.checking.look import Facts
from src.data.folders.split_names import split_of
from src.data.splits import SPLITS
from src.data.table import ImageTable, Rows

# Above these shares, or with a class that has no readable training image, training is not advisable.
MAX_UNREADABLE = 0.02  # of all images: more is most often a wrong data.root or a download that broke off
MAX_LEAKED = 0.01  # of val or of test: more, and the metrics look better than they are
MAX_CONFLICTS = 0.001  # of all images: the same bytes under two labels
FEW_IMAGES = 10  # readable training images of a class below which it is listed
IMBALANCE = 10  # factor between the largest and the smallest class from which it is said

# What can be found: (severity, one line about it), the most serious first.
KINDS = {
    "wrong_level": ("error", "names of splits among the classes"),
    "class_without_training": ("error", "classes without a readable training image"),
    "leak": ("error", "val or test images that are in another split too"),
    "near_leak": ("error", "val or test images that nearly are in another split too"),
    "label_conflict": ("error", "the same image under two labels"),
    "missing": ("error", "files that do not exist"),
    "empty": ("error", "files of 0 bytes"),
    "unreadable": ("error", "files that cannot be decoded"),
    "near_label_conflict": ("warning", "nearly the same image under two labels"),
    "duplicate": ("warning", "the same image twice in one split"),
    "few_images": ("warning", f"classes with fewer than {FEW_IMAGES} training images"),
    "class_not_measured": ("warning", "classes without a readable image in val or test"),
    "alike_names": ("warning", "classes whose names differ only in capital letters or blanks"),
    "same_subfolders": ("warning", "subfolders that every class has"),
    "constant_target": ("warning", "targets that are the same number for every training image"),
    "imbalance": ("warning", "classes of very different size"),
    "tiny": ("warning", "very small images"),
    "wrong_extension": ("note", "files whose name promises another format"),
    "near_duplicate": ("note", "nearly the same image twice in one split"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was found. `row` and `other` are of the table; None where it is about no image."""

    kind: str
    row: int | None = None
    other: int | None = None
    label: str = ""
    detail: str = ""

    @property
    def severity(self) -> str:
        return KINDS[self.kind][0]


def find_all(table: ImageTable, facts: Facts, tiny_px: int, near_bits: int | None) -> list[Finding]:
    """Everything in KINDS, in its order, then by row."""
    found = class_findings(table, facts) + copies(table, facts, near_bits, tiny_px)
    found += [Finding(problem, row, detail=reason) for row, (problem, reason) in facts.problems.items()]
    found += [Finding("wrong_extension", row, detail=f"it is a {kind}") for row, kind in facts.wrong_suffix.items()]
    for place in np.flatnonzero(np.minimum(facts.width_R, facts.height_R) < tiny_px):
        size = f"{facts.width_R[place]} x {facts.height_R[place]} pixels"
        found.append(Finding("tiny", int(facts.rows[place]), detail=size))
    order = list(KINDS)
    return sorted(found, key=lambda finding: (order.index(finding.kind), -1 if finding.row is None else finding.row))


def split_of_row(table: ImageTable) -> npt.NDArray[np.int8]:
    """Index into SPLITS for each row of the table; -1 where a row is in none. int8 [N]."""
    split_N = np.full(len(table), -1, dtype=np.int8)
    for name, rows in table.splits.items():
        split_N[rows] = SPLITS.index(name)
    return split_N


def readable_counts(table: ImageTable, facts: Facts) -> dict[str, npt.NDArray[np.int64]]:
    """Readable images of each class, int64 [K], by split."""
    return {
        name: table.class_counts(np.intersect1d(table.splits[name], facts.rows))
        for name in SPLITS
        if name in table.splits
    }


def class_findings(table: ImageTable, facts: Facts) -> list[Finding]:
    if table.label_kind == "numbers":
        return constant_targets(table, facts)
    counts, found = readable_counts(table, facts), wrong_levels(table)
    train_K = counts["train"]
    for k, name in enumerate(table.class_names):
        if train_K[k] < FEW_IMAGES:
            kind = "few_images" if train_K[k] else "class_without_training"
            found.append(Finding(kind, label=name, detail=f"{train_K[k]} in train"))
        if lacking := [split for split in counts if split != "train" and not counts[split][k]]:
            found.append(Finding("class_not_measured", label=name, detail=f"none in {' and '.join(lacking)}"))
    most, least = int(train_K.argmax()), int(train_K.argmin())
    if train_K[least] and train_K[most] >= IMBALANCE * train_K[least]:
        detail = (
            f"{train_K[most]} training images of {table.class_names[most]}, {train_K[least]} of "
            f"{table.class_names[least]}: data.balanced_sampling=true or loss.class_weights=effective may help"
        )
        found.append(Finding("imbalance", label=table.class_names[least], detail=detail))
    return found


def constant_targets(table: ImageTable, facts: Facts) -> list[Finding]:
    """Targets of which there is nothing to learn."""
    values_NT = table.labels[np.intersect1d(table.splits["train"], facts.rows)]
    return [
        Finding("constant_target", label=name, detail=f"it is {values_N[0]:g} everywhere")
        for name, values_N in zip(table.class_names, values_NT.T, strict=True)
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
    if table.label_kind == "classes" and table.root is not None:
        folders_of_class: dict[int, set[str]] = {}
        for path, label in zip(table.paths.tolist(), table.labels.tolist(), strict=True):
            folders_of_class.setdefault(label, set()).add(posixpath.basename(posixpath.dirname(path)))
        shared = next(iter(folders_of_class.values()))
        if len(shared) > 1 and len(folders_of_class) > 1 and all(f == shared for f in folders_of_class.values()):
            detail = f"{', '.join(sorted(shared)[:5])}: are these the classes?"
            found.append(Finding("same_subfolders", label=table.class_names[0], detail=detail))
    return found


# -------------------------------------------------------------------------------------------------------------- copies


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
    copied = np.flatnonzero(original != np.arange(len(rows)))
    one, other = copied, original[copied]
    conflict, leak = labels_differ(table, rows[one], rows[other]), split[one] != split[other]
    pieces = [("label_conflict", one, other, conflict), ("leak", one, other, leak)]
    pieces.append(("duplicate", one, other, ~conflict & ~leak))
    if near_bits is not None and len(rows):
        unique = np.unique(original)
        unique = unique[np.minimum(facts.width_R, facts.height_R)[order[unique]] >= tiny_px]
        of = order[unique]
        pairs = unique[near_pairs(facts.bits_RB[of], facts.gray_RP[of], facts.chroma_RP[of], near_bits)]
        other, one = pairs.reshape(-1, 2).T
        # All copies of a near duplicate leak with it.
        nearest = np.full(len(rows), -1)  # of each original: the near duplicate in the earliest split
        nearest[one[::-1]] = other[::-1]
        leaking = np.flatnonzero((split[original] == split) & (nearest[original] >= 0))
        source = nearest[original[leaking]]
        pieces.append(("near_leak", leaking, source, split[source] < split[leaking]))
        conflict = labels_differ(table, rows[one], rows[other]) & (table.label_kind != "numbers")
        pieces.append(("near_label_conflict", one, other, conflict))
        pieces.append(("near_duplicate", one, other, ~conflict & (split[one] == split[other])))
    found = []
    for kind, one, other, which in pieces:
        mine, first = np.unique(one[which], return_index=True)  # the first partner of each is enough
        partners = other[which][first]
        for row, partner in zip(rows[mine].tolist(), rows[partners].tolist(), strict=True):
            found.append(Finding(kind, row, partner, detail=copy_detail(table, split_N, row, partner)))
    return found


def labels_differ(table: ImageTable, rows: Rows, others: Rows) -> npt.NDArray[np.bool_]:
    different = table.labels[rows] != table.labels[others]
    return different.any(axis=1) if different.ndim == 2 else different  # type: ignore[no-any-return]


def copy_detail(table: ImageTable, split_N: npt.NDArray[np.int8], row: int, other: int) -> str:
    text = f"the other is in {SPLITS[split_N[other]]}"
    if table.label_text(other) != table.label_text(row):
        text += f" with the label {table.label_text(other) or '(none)'}"
    return f"{text}; listed twice" if table.paths[row] == table.paths[other] else text


# ------------------------------------------------------------------------------------------------------------- verdict


def reasons_against(table: ImageTable, found: list[Finding]) -> list[str]:
    """Why training is not advisable, each with the limit and the way out; empty if it is."""
    counts = Counter(finding.kind for finding in found)
    total = sum(map(len, table.splits.values()))
    reasons = []
    if misread := [finding.label for finding in found if finding.kind == "wrong_level"]:
        reasons.append(
            f"The classes have names of splits: {', '.join(misread)}. Do the class folders lie one level deeper, or is "
            "the column with the labels another one (data.label_columns)?"
        )
    if bare := [finding.label for finding in found if finding.kind == "class_without_training"]:
        names = ", ".join(bare[:5]) + (f" and {len(bare) - 5} more" if len(bare) > 5 else "")
        reasons.append(f"No readable training image of {names}: bring some, or leave the class out.")
    unreadable = counts["missing"] + counts["empty"] + counts["unreadable"]
    if unreadable > MAX_UNREADABLE * total:
        reasons.append(
            f"{unreadable} of {total} images ({unreadable / total:.1%}) cannot be read; the limit is "
            f"{MAX_UNREADABLE:.0%}: is data.root right, and did the download finish?"
        )
    split_N = split_of_row(table)
    for index, split in enumerate(SPLITS):
        leaked, nearly = (
            len({f.row for f in found if f.kind in kinds and f.row is not None and split_N[f.row] == index})
            for kinds in (("leak", "near_leak"), ("near_leak",))
        )
        size = len(table.splits.get(split, ()))
        if leaked > MAX_LEAKED * size:
            way_out = "remove the copies, or keep them in one split (data=csv with a column group)"
            if nearly:
                way_out += f". {nearly} of them only look alike? near_duplicate_bits=null leaves those out"
            reasons.append(
                f"{leaked} of {size} {split} images ({leaked / size:.1%}) are in another split too, or nearly; the "
                f"limit is {MAX_LEAKED:.0%}: {way_out}."
            )
    if counts["label_conflict"] > MAX_CONFLICTS * total:
        share = counts["label_conflict"] / total
        reasons.append(
            f"{counts['label_conflict']} of {total} images ({share:.1%}) are there under another label too; the "
            f"limit is {MAX_CONFLICTS:.1%}: decide for one label, or use task=multilabel."
        )
    return reasons
