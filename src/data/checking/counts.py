"""How much there is of what images are labelled with, where that is more than one class or number each."""

from src.data.boxes import Boxes
from src.data.checking.box_lines import BoxCounts
from src.data.checking.look import Facts
from src.data.checking.masks import PixelCounts
from src.data.masks import Masks
from src.data.module import ImageDataModule

Counts = BoxCounts | PixelCounts


def target_counts(datamodule: ImageDataModule, facts: Facts) -> Counts | None:
    """Of the readable images; None for other targets."""
    table = datamodule.table
    if isinstance(table.targets, Boxes):
        return BoxCounts.of(table, facts.rows, datamodule.preprocessing)
    return PixelCounts.of(table.targets, facts.rows) if isinstance(table.targets, Masks) else None
