"""What can be wrong with a data set, and what was found of it. Imports no torch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from src.data.splits import SPLITS
from src.data.table import ImageTable

FEW_IMAGES = 10  # readable training images of a class below which it is listed

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


def split_of_row(table: ImageTable) -> npt.NDArray[np.int8]:
    """Index into SPLITS for each row of the table; -1 where a row is in none. int8 [N]."""
    split_N = np.full(len(table), -1, dtype=np.int8)
    for name, rows in table.splits.items():
        split_N[rows] = SPLITS.index(name)
    return split_N
