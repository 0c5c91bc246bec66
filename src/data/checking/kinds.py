"""What can be wrong with a data set, what was found of it, and whether to train on it then. Imports no torch."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from src.data.annotations.findings import BOX_KINDS
from src.data.boxes import Boxes
from src.data.folders.split_names import listed
from src.data.splits import SPLITS
from src.data.table import ImageTable
from src.settings.options import tasks_for

# Above these shares, or with a class that has no readable training image, training is not advisable.
MAX_UNREADABLE = 0.02  # of all images: more is most often a wrong data.root or an interrupted download
MAX_LEAKED = 0.01  # of val or of test: more, and the metrics look better than they are
MAX_CONFLICTS = 0.001  # of all images: the same bytes under two labels
FEW_IMAGES = 10  # readable training images of a class below which it is listed
MAX_DROPPED_BOXES = 0.02  # of all boxes: more is most often a wrong format, or sizes of other images

# What can be found: (severity, one line about it), the most serious first.
IN_ANY_DATA = {
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
# What reading annotations finds that is found in any data: it has the same name.
OF_READING = {"image_missing": "missing", "image_unreadable": "unreadable"}
IN_ANNOTATIONS = {
    kind: (severity, f"{what} ({outcome})")
    for kind, (severity, what, outcome) in BOX_KINDS.items()
    if kind not in OF_READING
}
IN_BOXES = {
    "same_box_other_class": ("warning", "boxes that are there under another class too"),
    "same_box": ("warning", "boxes that are there twice"),
    "small_objects": ("warning", "classes of which many boxes are small for a network"),
    "no_boxes": ("note", "images without boxes, where few are: are they labelled?"),
}
SEVERITIES = ("error", "warning", "note")
KINDS = dict(
    sorted((IN_ANY_DATA | IN_ANNOTATIONS | IN_BOXES).items(), key=lambda kind: SEVERITIES.index(kind[1][0]))
)  # in each severity in the order above
DROPPED = [kind for kind, (severity, _) in IN_ANNOTATIONS.items() if severity == "error" and kind != "not_read"]


@dataclass(frozen=True)
class Finding:
    """One thing that was found. `row` and `other` are of the table; None where it is about no image.

    `image`: the path of one that is not in the table; `boxes`: those it is about, places in the arrays of the targets;
    `file` and `number`: where an object stands in the annotations.
    """

    kind: str
    row: int | None = None
    other: int | None = None
    label: str = ""
    detail: str = ""
    image: str = ""
    boxes: tuple[int, ...] = ()
    file: str = ""
    number: int | None = None

    @property
    def severity(self) -> str:
        return KINDS[self.kind][0]

    @property
    def place(self) -> str:
        """In the annotations; empty if it is not known, or there are none."""
        return f"{self.file}, object {self.number}" if self.number is not None else self.file

    def name(self, table: ImageTable) -> str:
        """Of the image, or of the class."""
        return str(table.paths[self.row]) if self.row is not None else self.label or self.image


def split_of_row(table: ImageTable) -> npt.NDArray[np.int8]:
    """Index into SPLITS for each row of the table; -1 where a row is in none. int8 [N]."""
    split_N = np.full(len(table), -1, dtype=np.int8)
    for name, rows in table.splits.items():
        split_N[rows] = SPLITS.index(name)
    return split_N


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
    one_of_two = f"decide for one label, or use {tasks_for('tags')}"
    if isinstance(table.targets, Boxes):
        reasons += too_many_dropped(table.targets, counts)
        one_of_two = "decide for one set of boxes"
    if counts["label_conflict"] > MAX_CONFLICTS * total:
        share = counts["label_conflict"] / total
        reasons.append(
            f"{counts['label_conflict']} of {total} images ({share:.1%}) are there under another label too; the "
            f"limit is {MAX_CONFLICTS:.1%}: {one_of_two}."
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
