"""Pascal VOC: an xml per image, as LabelImg, CVAT, Roboflow and others write it, into columns. Imports no torch."""

from pathlib import Path

import numpy as np

from src.data.annotations.columns import ColumnsOfBoxes
from src.data.annotations.problems import Problems
from src.data.annotations.raw import RawBoxes
from src.data.annotations.voc_file import VocFile, parse
from src.data.annotations.voc_layout import ImagesOfXmls, find_xmls, stem_of
from src.data.folders.split_names import same_text
from src.settings.errors import ConfigError
from src.settings.plurals import number_of


def read_voc(root: Path, annotation_folder: Path | None = None, on_error: str = "skip") -> RawBoxes:
    """Boxes of the xml files in Annotations, or below root. Splits: ImageSets/Main, or folders called train, val, test.

    Corners are as written; `first_pixel` says how they are meant (`find_first_pixel`). Difficult objects are crowds.
    Files that cannot be read are left out and counted (on_error=skip), or raise ConfigError (fail).
    """
    if not root.is_dir():
        raise ConfigError(f"data.root='{root}' is not a folder.")
    setting = f"data.root='{root}'"
    layout, images = find_xmls(root, annotation_folder), ImagesOfXmls(root)
    columns, problems, class_ids = ColumnsOfBoxes(), Problems(setting, on_error), dict[str, int]()
    for path, split in layout.files:
        found = read_file(path, problems)
        if found is not None:
            columns.add_image(images.name_of(path, found.filename), path, split, found.size_wh)
            for name, corners, difficult, number in found.objects:
                columns.add_box(corners, class_ids.setdefault(same_text(name), len(class_ids)), number, difficult)
    for name, split in layout.listed_alone:
        columns.add_image(images.name_of(name, name), "", split)
    if not columns.image_M:
        raise ConfigError(
            f"{setting}: none of the {len(layout.files):,} xml files has a box. " + " ".join(problems.notes())
        )
    notes = layout.notes + notes_about(images, columns, problems)
    raw = columns.finish(sorted(class_ids), "xyxy", False, [root], notes)
    find_first_pixel(raw)
    raw.problems = problems.found()
    raw.class_M = np.argsort(np.argsort(list(class_ids)))[raw.class_M]  # in the order of the names
    return raw


def find_first_pixel(raw: RawBoxes) -> None:
    """Set `first_pixel`: 1, as in Pascal VOC, unless a corner has a 0, as of tools that count from 0; this is noted.

    From 1, the last pixel belongs to the box: x1, y1, x2, y2 with x2 and y2 exclusive are xmin - 1, ymin - 1, xmax,
    ymax (as in Detectron2's pascal_voc.py; torchvision's VOCDetection leaves the values alone). From 0 they are as
    written. Equal corners would be one pixel by the letter, but come from a click that drew nothing: their end is
    moved to where they begin, so that they have no size.
    """
    begin, end = raw.coordinates[:, :2], raw.coordinates[:, 2:]
    zeros = int((raw.coordinates[(begin < end).all(axis=1)] == 0).any(axis=1).sum())
    raw.first_pixel = 0 if zeros else 1
    if zeros:
        which = number_of(zeros, "box begins", "boxes begin")
        raw.notes.append(f"{which} at pixel 0: pixels are counted from 0, and not from 1 as Pascal VOC does.")
    else:
        end[begin == end] -= 1


def read_file(path: str, problems: Problems) -> VocFile | None:
    """None if it cannot be read. Objects without a box are left out; both is counted."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - Path.open takes twice as long
            found = parse(file.read())
    except (OSError, ValueError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else error
        problems.add(
            "xml [file|files] that cannot be read, left out with [its image|their images]",
            f"{path}: {reason}",
        )
        return None
    for what in found.broken:
        problems.add("[object|objects] without a name or a box of numbers, left out", f"{path}, {what}")
    return found


def notes_about(images: ImagesOfXmls, columns: ColumnsOfBoxes, problems: Problems) -> list[str]:
    """Raises ConfigError for problems, with on_error=fail."""
    notes = problems.notes()
    if difficult := sum(columns.crowd_M):
        notes.append(f"{number_of(difficult, 'object is', 'objects are')} marked as difficult: nobody trains on them.")
    if images.by_filename:
        which = number_of(images.by_filename, "image is", "images are")
        notes.append(f"{which} called as the xml says, and not like the xml.")
    if others := len(images.of_stem.keys() - {stem_of(image) for image in columns.images} - {""}):
        notes.append(f"{number_of(others, 'image has', 'images have')} no xml, or no place in a list: left out.")
    return notes
