"""Whether to train on a data set, by what was found of it. Imports no torch."""

from collections import Counter

from src.data.annotations.findings import BOX_KINDS
from src.data.boxes import Boxes
from src.data.checking.kinds import OF_READING, Finding, split_of_row
from src.data.folders.split_names import listed
from src.data.mask_files.findings import MASK_KINDS, MOST_UNNAMED
from src.data.masks import Masks
from src.data.splits import SPLITS
from src.data.table import ImageTable
from src.settings.options import tasks_for

# Above these shares, or with a class that has no readable training image, training is not advisable.
MAX_UNREADABLE = 0.02  # of all images: more is most often a wrong data.root or an interrupted download
MAX_LEAKED = 0.01  # of val or of test: more, and the metrics look better than they are
MAX_CONFLICTS = 0.001  # of all images: the same bytes under two labels
MAX_WITHOUT_MASK = 0.5  # of all images: fewer may be what somebody got round to
MAX_DROPPED_BOXES = 0.02  # of all boxes: more is most often a wrong format, or sizes of other images
DROPPED = [
    kind for kind, (severity, *_) in BOX_KINDS.items()
    if severity == "error" and kind not in ("not_read", *OF_READING)
]  # fmt: skip
UNUSABLE = [
    kind for kind, (severity, *_) in MASK_KINDS.items()
    if severity == "error" and kind not in ("value_without_name", "many_without_name", "mask_missing", *OF_READING)
]  # fmt: skip


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
    if isinstance(table.targets, Boxes):
        reasons += too_many_dropped(table.targets, counts)
    if isinstance(table.targets, Masks):
        reasons += of_masks(total, counts)
    if counts["label_conflict"] > MAX_CONFLICTS * total:
        share = counts["label_conflict"] / total
        or_all = f", or use {tasks_for('tags')}" if table.targets.kind == "classes" else ""
        reasons.append(
            f"{counts['label_conflict']} of {total} images ({share:.1%}) are there under another label too; the "
            f"limit is {MAX_CONFLICTS:.1%}: decide for one {table.targets.one}{or_all}."
        )
    return reasons


def too_many_dropped(targets: Boxes, counts: Counter[str]) -> list[str]:
    """Reasons, if so much of the annotations cannot be used that the rest may be wrong too."""
    unread = []
    if counts["not_read"] > MAX_UNREADABLE * len(targets):
        unread = [
            f"{counts['not_read']:,} places in the annotations of {len(targets):,} images cannot be understood; the "
            f"limit is {MAX_UNREADABLE:.0%} of the images: are the files whole, and in the right format (data=...)?"
        ]
    dropped = sum(counts[kind] for kind in DROPPED)
    every = dropped + len(targets.boxes_xyxy)
    if dropped <= MAX_DROPPED_BOXES * every:
        return unread
    said = ", ".join(f"{kind} {counts[kind]:,}" for kind in DROPPED if counts[kind])
    return [
        *unread,
        f"{dropped:,} of {every:,} boxes ({dropped / every:.1%}) cannot be used ({said}); the limit is "
        f"{MAX_DROPPED_BOXES:.0%}: is it the right format (data=...), and are these the images that were labelled?",
    ]


def of_masks(images: int, counts: Counter[str]) -> list[str]:
    """Reasons, of so many images with a mask: many others have none that can be used, or many pixels no name."""
    found = []
    if counts["many_without_name"]:
        found.append(
            f"Values without a name are on more than {MOST_UNNAMED:.0%} of all pixels: name them "
            "(data.classes=<table>), or say that they are void (data.ignore_values=[...])."
        )
    if (missing := counts["mask_missing"]) > MAX_WITHOUT_MASK * (images + missing):
        found.append(
            f"{missing:,} of {images + missing:,} images have no mask; the limit is {MAX_WITHOUT_MASK:.0%}: are all "
            "masks there, and called like their images?"
        )
    unusable = sum(counts[kind] for kind in UNUSABLE)
    if unusable > MAX_UNREADABLE * (images + unusable):
        said = ", ".join(f"{kind} {counts[kind]:,}" for kind in UNUSABLE if counts[kind])
        found.append(
            f"{unusable:,} of {images + unusable:,} masks cannot be used ({said}); the limit is {MAX_UNREADABLE:.0%}: "
            "are these the masks of these images, as they were made?"
        )
    return found


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
