"""What src.check says of boxes, with or without the outlines of what is in them. Imports no torch."""

from collections import Counter

from src.data.annotations.findings import BOX_KINDS
from src.data.boxes import Boxes
from src.data.checking.annotations import where_written
from src.data.checking.box_lines import BoxCounts
from src.data.checking.boxes import box_findings
from src.data.checking.kinds import MAX_UNREADABLE, OF_READING, Finding
from src.data.checking.look import Facts
from src.data.checking.target_check import TargetCheck
from src.data.module import ImageDataModule
from src.data.table import ImageTable
from src.settings.plurals import number_of

MAX_DROPPED_BOXES = 0.02  # of all boxes: more is most often a wrong format, or sizes of other images
DROPPED = [
    kind for kind, (severity, *_) in BOX_KINDS.items()
    if severity == "error" and kind not in ("not_read", *OF_READING)
]  # fmt: skip


class BoxCheck(TargetCheck):
    has_places = True

    def findings(self, datamodule: ImageDataModule, facts: Facts, found: list[Finding]) -> list[Finding]:
        """With the annotation file and number of each box, where they are known."""
        found = found + box_findings(datamodule.table, facts.rows, datamodule.preprocessing, found)
        return [where_written(datamodule, one) for one in found]

    def counts(self, datamodule: ImageDataModule, facts: Facts) -> BoxCounts:
        return BoxCounts.of(datamodule.table, facts.rows, datamodule.preprocessing)

    def reasons(self, table: ImageTable, images: int, counts: Counter[str]) -> list[str]:
        assert isinstance(table.targets, Boxes)
        return too_many_dropped(table.targets, counts)


def too_many_dropped(targets: Boxes, counts: Counter[str]) -> list[str]:
    """Reasons, if so much of the annotations cannot be used that the rest may be wrong too."""
    unread = []
    if counts["not_read"] > MAX_UNREADABLE * len(targets):
        unread = [
            f"{number_of(counts['not_read'], 'place')} in the annotations of {number_of(len(targets), 'image')} cannot "
            f"be understood; the limit is {MAX_UNREADABLE:.0%} of the images: are the files whole, and in the right "
            "format (data=...)?"
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
