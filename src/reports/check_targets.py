"""How the check's page shows what images are labelled with. Kinds that are drawn have a line in PAGES."""

from collections.abc import Sequence
from html import escape
from typing import ClassVar

from src.data.boxes import Boxes
from src.data.checking.box_lines import BoxCounts
from src.data.checking.masks import PixelCounts
from src.data.checking.target_check import TargetCounts
from src.data.masks import Masks
from src.data.table import ImageTable
from src.data.targets import Targets
from src.reports.check_boxes import boxes_sections, drawn_figure
from src.reports.check_masks import mask_figure, mask_sections
from src.reports.parts import thumbnail


class TargetPage:
    """Of targets that a text says: images are small, with the text below. `drawn`: images are large, with what is in
    them.
    """

    drawn: ClassVar[bool] = False

    def sections(self, table: ImageTable, counts: TargetCounts) -> list[str]:
        """How much there is."""
        return []

    def figure(self, table: ImageTable, row: int, split: str, boxes: Sequence[int]) -> str:
        """An image; of boxes, those (places in the arrays) that a finding is about are in colour."""
        where = escape(f"{split} · {table.targets.text(row)}")
        caption = f'<figcaption>{escape(str(table.paths[row]))}<br><span class="where">{where}</span></figcaption>'
        return f"<figure>{thumbnail(table, row)}{caption}</figure>"


class BoxPage(TargetPage):
    drawn = True

    def sections(self, table: ImageTable, counts: TargetCounts) -> list[str]:
        assert isinstance(counts, BoxCounts)
        return boxes_sections(table, counts)

    def figure(self, table: ImageTable, row: int, split: str, boxes: Sequence[int]) -> str:
        return drawn_figure(table, row, split, boxes)


class MaskPage(TargetPage):
    drawn = True

    def sections(self, table: ImageTable, counts: TargetCounts) -> list[str]:
        assert isinstance(counts, PixelCounts)
        return mask_sections(table, counts)

    def figure(self, table: ImageTable, row: int, split: str, boxes: Sequence[int]) -> str:
        assert isinstance(table.targets, Masks)
        return mask_figure(table, table.targets, row, split)


PAGES: dict[type[Targets], TargetPage] = {Boxes: BoxPage(), Masks: MaskPage()}  # and of what is made of these


def page_of(targets: Targets) -> TargetPage:
    return next((PAGES[kind] for kind in type(targets).__mro__ if kind in PAGES), TargetPage())
