"""COCO json, as COCO, Roboflow, CVAT, Label Studio, FiftyOne and others write it, into columns. Imports no torch.

N images, M boxes, K classes.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from src.data.annotations.coco_entries import add_faults, classes_of, crowds, images_of
from src.data.annotations.coco_file import CocoFile
from src.data.annotations.coco_layout import find_files, image_folders
from src.data.annotations.problems import Problems
from src.data.annotations.raw import RawBoxes
from src.data.outlines import Outlines
from src.data.table import string_column
from src.settings.errors import ConfigError

Ints = npt.NDArray[np.int64]


@dataclass
class Joined:
    """The columns of all files so far, a list entry per file, and images as lists."""

    images: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    sizes_wh: list[tuple[int, int]] = field(default_factory=list)
    class_names: dict[str, int] = field(default_factory=dict)
    image_M: list[Ints] = field(default_factory=list)
    coordinates: list[npt.NDArray[np.float64]] = field(default_factory=list)
    class_M: list[Ints] = field(default_factory=list)
    crowd_M: list[npt.NDArray[np.bool_]] = field(default_factory=list)
    number_M: list[Ints] = field(default_factory=list)
    outlines: list[Outlines] = field(default_factory=list)


def read_coco(
    root: Path,
    file: Path | None = None,
    image_folder: Path | None = None,
    on_error: str = "skip",
    outlines: bool = False,
) -> RawBoxes:
    """Boxes of the json files below `root`, or of the one `file`, which is to be cut.

    The box is `bbox`; where it is missing, the hull of polygons or mask. Classes have the names of the categories, in
    their order, also those that nothing belongs to. What cannot be understood is left out and counted (on_error=skip),
    or raises ConfigError (fail); a file that is no COCO json always does. With `outlines` segmentations are kept too.
    """
    if not root.is_dir():
        raise ConfigError(f"data.root='{root}' is not a folder.")
    if image_folder is not None and not (image_folder.is_dir() or (root / image_folder).is_dir()):
        raise ConfigError(f"data.image_folder='{image_folder}' is no folder, neither from here nor in '{root}'.")
    setting = f"data.root='{root}'" if file is None else f"data.file='{file}'"
    layout, joined, problems = find_files(root, file), Joined(), Problems(setting, on_error)
    notes, folders = list(layout.notes), list[Path]()
    for path, split in layout.files.items():
        places = image_folders(root, path, image_folder)
        add_file(joined, CocoFile(path, setting, outlines), split, problems, notes)
        folders += [place for place in places if place not in folders]
    if not any(len(rows) for rows in joined.image_M):
        raise ConfigError(f"{setting}: {', '.join(map(str, layout.files))} has no box that can be used. "
                          + " ".join(problems.notes()))  # fmt: skip
    image_M = np.concatenate(joined.image_M)
    order = np.argsort(image_M, kind="stable")
    return RawBoxes(
        images=string_column(joined.images),
        sources=string_column(joined.sources),
        splits=string_column(joined.splits),
        stated_wh=np.array(joined.sizes_wh, dtype=np.int32).reshape(-1, 2),
        image_M=image_M[order],
        coordinates=np.concatenate(joined.coordinates)[order],
        class_M=np.concatenate(joined.class_M)[order],
        crowd_M=np.concatenate(joined.crowd_M)[order],
        number_M=np.concatenate(joined.number_M)[order],
        class_names=list(joined.class_names),
        form="xywh",
        relative=False,
        folders=folders,
        notes=notes + problems.notes(),
        problems=problems.found(),
        outlines=Outlines.joined(joined.outlines).take(order) if outlines else None,
    )


def add_file(joined: Joined, found: CocoFile, split: str, problems: Problems, notes: list[str]) -> None:
    """One file more, without what cannot be understood."""
    images = images_of(found, problems)
    classes = classes_of(found, problems, notes)
    class_of_name = [joined.class_names.setdefault(name, len(joined.class_names)) for name in classes.names]
    # The last place is for what has no id at all (-1).
    rows = images.row_of_id[np.array(found.image_ids)]
    own_classes = classes.class_of_id[np.array(found.category_ids)]
    has_box = np.array(found.has_box, dtype=np.bool_)
    add_faults(found, rows < 0, own_classes < 0, ~has_box, problems)
    kept = np.flatnonzero(has_box & (rows >= 0) & (own_classes >= 0))
    joined.image_M.append(rows[kept] + len(joined.images))
    joined.coordinates.append(np.array(found.boxes).reshape(-1, 4)[kept])
    joined.class_M.append(np.array([*class_of_name, -1], dtype=np.int64)[own_classes[kept]])
    joined.crowd_M.append(crowds(found, notes)[kept])
    joined.number_M.append(np.array(found.numbers)[kept])
    if found.outlines is not None:
        joined.outlines.append(found.outlines.finish().take(kept))
    joined.images += images.names
    joined.sources += [str(found.path)] * len(images.names)
    joined.splits += [split] * len(images.names)
    joined.sizes_wh += images.sizes_wh
