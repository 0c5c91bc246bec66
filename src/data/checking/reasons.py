"""Whether to train on a data set, by what was found of it. Imports no torch."""

from collections import Counter

from src.data.checking.kinds import MAX_UNREADABLE, Finding, split_of_row
from src.data.checking.of_targets import check_of
from src.data.folders.split_names import listed
from src.data.splits import SPLITS
from src.data.table import ImageTable
from src.settings.options import tasks_for

# Above these shares and MAX_UNREADABLE, or with a class that has no readable training image, training is not advisable.
MAX_LEAKED = 0.01  # of val or of test: more, and the metrics look better than they are
MAX_CONFLICTS = 0.001  # of all images: the same bytes under two labels


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
        reasons.append(f"No readable training image of {listed(bare)}: bring some, or leave the class out.")
    total += sum(finding.row is None for finding in found if finding.kind in ("missing", "unreadable"))
    unreadable = counts["missing"] + counts["empty"] + counts["unreadable"]
    if unreadable > MAX_UNREADABLE * total:
        reasons.append(
            f"{unreadable} of {total} images ({unreadable / total:.1%}) cannot be read; the limit is "
            f"{MAX_UNREADABLE:.0%}: is data.root right, and did the download finish?"
        )
    reasons += [reason for split in SPLITS if split in table.splits and (reason := leaks_into(table, found, split))]
    reasons += check_of(table.targets).reasons(table, total, counts)
    if counts["label_conflict"] > MAX_CONFLICTS * total:
        share = counts["label_conflict"] / total
        or_all = f", or use {tasks_for('tags')}" if table.targets.kind == "classes" else ""
        reasons.append(
            f"{counts['label_conflict']} of {total} images ({share:.1%}) are there under another label too; the "
            f"limit is {MAX_CONFLICTS:.1%}: decide for one {table.targets.one}{or_all}."
        )
    return reasons


def leaks_into(table: ImageTable, found: list[Finding], split: str) -> str:
    """Why too much of a split is in an earlier one too; an empty text if it is not."""
    split_N, index, size = split_of_row(table), SPLITS.index(split), len(table.splits[split])
    leaked, nearly = (
        len({f.row for f in found if f.kind in kinds and f.row is not None and split_N[f.row] == index})
        for kinds in (("leak", "near_leak"), ("near_leak",))
    )
    if leaked <= MAX_LEAKED * size:
        return ""
    way_out = "remove the copies, or keep them in one split (data=csv with a column group)"
    if nearly:
        way_out += f". {nearly} of them only look alike? near_duplicate_bits=null leaves those out"
    return (
        f"{leaked} of {size} {split} images ({leaked / size:.1%}) are in another split too, or nearly; the limit is "
        f"{MAX_LEAKED:.0%}: {way_out}."
    )
