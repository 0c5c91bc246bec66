"""What can be wrong with a data set, and what was found of it. Imports no torch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from src.data.annotations.findings import BOX_KINDS
from src.data.mask_files.findings import MASK_KINDS
from src.data.splits import SPLITS
from src.data.table import ImageTable

FEW_IMAGES = 10  # readable training images of a class below which it is listed
# Share of all images, annotations or masks above which training is not advisable: most often a wrong data.root or an
# interrupted download.
MAX_UNREADABLE = 0.02

# What can be found: (severity, one line about it, of one or several), the most serious first.
IN_ANY_DATA = {
    "wrong_level": ("error", "[name of a split|names of splits] among the classes"),
    "class_without_training": ("error", "[class|classes] without a readable training image"),
    "leak": ("error", "val or test [image that is|images that are] in another split too"),
    "near_leak": ("error", "val or test [image that nearly is|images that nearly are] in another split too"),
    "label_conflict": ("error", "the same image under two labels"),
    "missing": ("error", "[file that does|files that do] not exist"),
    "empty": ("error", "[file|files] of 0 bytes"),
    "unreadable": ("error", "[file|files] that cannot be decoded"),
    "near_label_conflict": ("warning", "nearly the same image under two labels"),
    "duplicate": ("warning", "the same image twice in one split"),
    "few_images": ("warning", f"[class|classes] with fewer than {FEW_IMAGES} training images"),
    "class_not_measured": ("warning", "[class|classes] without a readable image in val or test"),
    "alike_names": (
        "warning",
        "[class|classes] called like another but for capital letters or blanks",
    ),
    "same_subfolders": ("warning", "[subfolder|subfolders] that every class has"),
    "constant_target": ("warning", "[target that is|targets that are] the same number for every training image"),
    "imbalance": ("warning", "classes of very different size"),
    "tiny": ("warning", "very small [image|images]"),
    "wrong_extension": ("note", "[file|files] whose name promises another format"),
    "near_duplicate": ("note", "nearly the same image twice in one split"),
}
# What reading annotations finds that is found in any data: it has the same name.
OF_READING = {"image_missing": "missing", "image_unreadable": "unreadable"}
IN_ANNOTATIONS = {
    kind: (severity, f"{what} ({outcome})")
    for kind, (severity, what, outcome) in (BOX_KINDS | MASK_KINDS).items()
    if kind not in OF_READING
}
IN_BOXES = {
    "same_box_other_class": ("warning", "[box that is|boxes that are] there under another class too"),
    "same_box": ("warning", "[box that is|boxes that are] there twice"),
    "small_objects": ("warning", "[class|classes] of which many boxes are small for a network"),
    "no_boxes": ("note", "[image|images] without boxes, where few are: [is it|are they] labelled?"),
}
IN_MASKS = {
    "few_pixels": ("warning", "[class|classes] that hardly any training pixel has"),
    "mostly_void": ("note", "[image|images] of which most is void"),
}
SEVERITIES = ("error", "warning", "note")
KINDS = dict(
    sorted((IN_ANY_DATA | IN_ANNOTATIONS | IN_BOXES | IN_MASKS).items(), key=lambda kind: SEVERITIES.index(kind[1][0]))
)  # in each severity in the order above


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
