"""What can be wrong with files of masks. Imports no torch."""

from typing import ClassVar

from src.data.annotations.findings import Facts, ReadFindings

MOST_UNNAMED = 0.02  # share of all pixels that may have values without a name: more, and the table is another one's
# As BOX_KINDS: (severity, what the log says, what becomes of it).
MASK_KINDS: Facts = {
    "mask_missing": ("error", "[image has|images have] no mask", "left out"),
    "mask_unreadable": ("error", "[mask|masks] cannot be read", "left out"),
    "mask_lossy": ("error", "[mask is|masks are] saved in a format that smears values, such as JPEG", "left out"),
    "mask_size": ("error", "[mask has another size than its|masks have another size than their] image", "left out"),
    "image_unreadable": ("error", "[image|images] cannot be read", "kept, and skipped by whoever reads them"),
    "value_without_name": (
        "error",
        "[value|values] of masks [has|have] no name",
        "void: neither trained on nor measured",
    ),
    "many_without_name": (
        "error",
        "[set is|sets are] of values without a name on many pixels",
        "void",
    ),
    "mask_void": ("warning", "[mask has|masks have] no pixel with a class", "left out"),
    "mask_without_image": ("warning", "[mask belongs|masks belong] to no image", "left out"),
}


class MaskFindings(ReadFindings):
    facts: ClassVar[Facts] = MASK_KINDS
