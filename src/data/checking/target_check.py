"""What src.check has to say about what images are labelled with, beside their classes. Imports no torch."""

from collections import Counter
from collections.abc import Iterator
from typing import ClassVar, Protocol

from src.data.checking.kinds import Finding
from src.data.checking.look import Facts
from src.data.module import ImageDataModule
from src.data.table import ImageTable


class TargetCounts(Protocol):
    """How much there is, where that is more than one class or number for each image."""

    def lines(self, width: int) -> Iterator[str]:
        """In a column `width` characters wide what is counted, then the numbers."""


class TargetCheck:
    """Of targets of one kind; nothing here. src/data/checking/of_targets.py says whose is which."""

    # Whether findings can point at objects, by their places in the arrays of a BoxDataModule.
    has_places: ClassVar[bool] = False

    def findings(self, datamodule: ImageDataModule, facts: Facts, found: list[Finding]) -> list[Finding]:
        """Those to come, and `found`, what is known already."""
        return found

    def counts(self, datamodule: ImageDataModule, facts: Facts) -> TargetCounts | None:
        """Of the readable images."""
        return None

    def reasons(self, table: ImageTable, images: int, counts: Counter[str]) -> list[str]:
        """Why training is not advisable, of so many images and findings of each kind."""
        return []
