"""What was found when annotations or masks were read, as findings of the check: each thing once."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from src.data.annotations.class_names import DIFFERENT
from src.data.annotations.findings import NO_NUMBER, BoxFinding
from src.data.checking.kinds import OF_READING, Finding
from src.data.formats.boxes import BoxDataModule
from src.data.module import ImageDataModule
from src.files.printable import printable

OF_BAD_IMAGES = ("unreadable", "no_image_size")  # kinds that only say again that an image cannot be read
REPAIRED = ("swapped", "beyond")  # kinds whose box is there, as it was put right


def other_notes(datamodule: ImageDataModule) -> list[str]:
    """What there is to say about the data besides the findings."""
    found = datamodule.findings
    if found is None:
        return datamodule.table.notes
    said = {printable(note) for note in found.notes()}
    not_read = tuple(f"{what}: " for what in np.unique(found.details[found.kinds == "not_read"]).tolist())
    return [
        note
        for note in datamodule.table.notes
        if note not in said and DIFFERENT not in note and not note.partition(" ")[2].startswith(not_read)
    ]


def annotation_findings(datamodule: ImageDataModule, problems: Collection[int], has_places: bool) -> list[Finding]:
    """`problems`: rows of the table of which it is known already that they cannot be read. `has_places`: see
    TargetCheck.
    """
    found = datamodule.findings
    if found is None or not len(found):
        return []
    wanted = set(found.images.tolist())
    rows = {path: row for row, path in enumerate(datamodule.table.paths.tolist()) if path in wanted}
    repaired = {(one.source, one.number) for one in found if has_places and one.kind in REPAIRED}
    places = places_of(datamodule, repaired)
    findings = [as_finding(one, rows.get(one.image), places) for one in found]
    return [one for one in findings if one.kind not in OF_BAD_IMAGES or one.row not in problems]


def as_finding(one: BoxFinding, row: int | None, places: dict[tuple[str, int], int]) -> Finding:
    kind = OF_READING.get(one.kind, one.kind)
    number = None if one.number == NO_NUMBER else one.number
    place = places.get((one.source, one.number)) if one.kind in REPAIRED else None
    detail = one.detail or "the annotations name it"
    boxes = () if place is None or row is None else (place,)
    return Finding(kind, row, detail=detail, image=one.image, file=one.source, number=number, boxes=boxes)


def places_of(datamodule: ImageDataModule, wanted: set[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Index into the arrays of boxes, by annotation file and number in it; of data without annotations, nothing."""
    if not wanted or not isinstance(datamodule, BoxDataModule):
        return {}
    found = datamodule.found
    files = found.files.tolist()
    return {
        key: place
        for place, (file, number) in enumerate(zip(found.file_M.tolist(), found.number_M.tolist(), strict=True))
        if (key := (files[file], number)) in wanted
    }


def where_written(datamodule: ImageDataModule, finding: Finding) -> Finding:
    """With the annotation file, and the number in it, of the finding's first box, where they are known."""
    if not finding.boxes or finding.file or datamodule.findings is None:
        return finding
    assert isinstance(datamodule, BoxDataModule)
    found = datamodule.found
    numbers = found.number_M[list(finding.boxes)].tolist()
    other = f"; the other is object {numbers[1]}" if len(numbers) > 1 else ""
    file = str(found.files[found.file_M[finding.boxes[0]]])
    return replace(finding, file=file, number=numbers[0], detail=finding.detail + other)
