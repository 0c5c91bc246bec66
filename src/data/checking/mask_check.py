"""What src.check says of a class for each pixel. Imports no torch."""

from collections import Counter

from src.data.checking.kinds import MAX_UNREADABLE, OF_READING, Finding
from src.data.checking.look import Facts
from src.data.checking.masks import PixelCounts, mask_findings
from src.data.checking.target_check import TargetCheck
from src.data.mask_files.findings import MASK_KINDS, MOST_UNNAMED
from src.data.masks import Masks
from src.data.module import ImageDataModule
from src.data.table import ImageTable

MAX_WITHOUT_MASK = 0.5  # of all images: fewer may be what somebody got round to
UNUSABLE = [
    kind for kind, (severity, *_) in MASK_KINDS.items()
    if severity == "error" and kind not in ("value_without_name", "many_without_name", "mask_missing", *OF_READING)
]  # fmt: skip


class MaskCheck(TargetCheck):
    def findings(self, datamodule: ImageDataModule, facts: Facts, found: list[Finding]) -> list[Finding]:
        return found + mask_findings(datamodule.table, facts.rows)

    def counts(self, datamodule: ImageDataModule, facts: Facts) -> PixelCounts:
        targets = datamodule.table.targets
        assert isinstance(targets, Masks)
        return PixelCounts.of(targets, facts.rows)

    def reasons(self, table: ImageTable, images: int, counts: Counter[str]) -> list[str]:
        return of_masks(images, counts)


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
