"""YOLO's txt files: one per image, with a line per object; data.yaml names classes and splits. Imports no torch."""

import os
from pathlib import Path

import numpy as np

from src.data.annotations.columns import ColumnsOfBoxes
from src.data.annotations.problems import Problems
from src.data.annotations.raw import RawBoxes
from src.data.annotations.yolo_layout import LabelFolders, YoloImages, images_below, images_in
from src.data.annotations.yolo_lines import LabelLines
from src.data.annotations.yolo_yaml import YoloSettings, find_names, find_yaml, read_settings
from src.data.folders.split_names import listed, same_text
from src.settings.errors import ConfigError
from src.settings.plurals import agreeing, number_of


def read_yolo(
    root: Path, file: Path | None = None, on_error: str = "skip", outlines: bool = False, needs_labels: bool = False
) -> RawBoxes:
    """Boxes of the images that `file` (data.yaml; None = the one in root, if there is one) names, or of all below root.

    An image without label file, or with an empty one, is an image without boxes; with `needs_labels` one without label
    file is left out. Names of images are relative to root, where they lie below it. Lines that cannot be understood are
    left out and counted (on_error=skip), or raise ConfigError (fail); a data.yaml that cannot be does so always. With
    `outlines` polygons are kept too.
    """
    if not root.is_dir():
        raise ConfigError(f"data.root='{root}' is not a folder.")
    settings, images = described(root, file)
    if not images.files:
        raise ConfigError(f"data.root='{root}': there are no images{' where data.yaml says' * bool(settings.places)}.")
    columns, problems = ColumnsOfBoxes(outlines), Problems(f"data.root='{root}'", on_error)
    ids = None if settings.names is None else set(settings.names)
    lines = LabelLines(columns, ids, settings.keypoints, problems)
    notes = settings.notes + images.notes + read_labels(root, images, lines, needs_labels)
    notes += [f"{count:,} {agreeing(count, what)}." for what, count in lines.extras.items()]
    names, class_of_id = classes(columns, settings, notes)
    if not columns.image_M:
        raise ConfigError(
            f"data.root='{root}': none of the {len(images.files):,} images has a box. "
            + " ".join([*problems.notes(), *notes])
        )
    raw = columns.finish(names, "cxcywh", True, folders(root, columns.images), notes + problems.notes())
    raw.class_M, raw.problems = class_of_id[raw.class_M], problems.found()
    return raw


def described(root: Path, file: Path | None) -> tuple[YoloSettings, YoloImages]:
    """What data.yaml says and the images it names; without one, what the folders are called."""
    if file is not None:
        there = next((path for path in (file, root / file) if path.is_file()), None)
        if there is None:
            raise ConfigError(f"data.file='{file}' does not exist, neither from here nor in data.root='{root}'.")
        file = there
    else:
        file = find_yaml(root)
    settings = YoloSettings() if file is None else read_settings(root, file)
    if settings.names is None:
        settings.names, source = find_names(root)
        if source is not None:
            settings.notes.append(f"The classes have the names in {source}.")
    return settings, images_in(settings.places) if settings.places else images_below(root)


def read_labels(root: Path, images: YoloImages, lines: LabelLines, needs_labels: bool) -> list[str]:
    """The images and their boxes, added to the columns of `lines`. Returns notes."""
    labels = LabelFolders()
    labels.learn(image for image, _ in images.files)
    start, without, empty = len(str(root)) + 1, list[str](), 0
    for image, split in images.files:
        name = image[start:] if image.startswith(f"{root}/") else image
        path = labels.file_of(image)
        if path is None:
            without.append(name)
            if needs_labels:
                continue
        lines.columns.add_image(name, path or "", split)
        if path is None:
            continue
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - Path.open takes twice as long
                content = file.read()
        except OSError as error:
            lines.problems.add("label [file|files] that cannot be read", f"{path}: {error.strerror or error}")
            continue
        empty += not content.strip()
        lines.add(content, path)
    notes = []
    if without:
        which = number_of(len(without), "image has", "images have")
        outcome = "left out" if needs_labels else "taken for images without boxes"
        notes.append(f"{which} no label file: {outcome}: {listed(without)}.")
    if empty:
        notes.append(f"{number_of(empty, 'label file is', 'label files are')} empty: images without boxes.")
    if others := labels.without_image():
        which = number_of(len(others), "label file has", "label files have")
        notes.append(f"{which} no image: left out: {listed(others)}.")
    return notes


def classes(columns: ColumnsOfBoxes, settings: YoloSettings, notes: list[str]) -> tuple[list[str], np.ndarray]:
    """Names, and the class of each id from 0 to the largest, int64. Ids of the same name are one class."""
    if settings.names is None:
        ids = sorted(set(columns.class_M))
        settings.names = {i: str(i) for i in ids}
        notes.append("No data.yaml or classes.txt names the classes: their numbers are their names.")
    index_of_name = dict[str, int]()
    largest = max(settings.names, default=0)
    if largest > 10**6:
        raise ConfigError(f"A class has the id {largest}: ids of YOLO's classes count from 0, up to a million.")
    class_of_id = np.full(largest + 1, -1, dtype=np.int64)
    for i, name in sorted(settings.names.items()):
        if (key := same_text(name)) in index_of_name:
            notes.append(f"Two class ids are called '{key}', and are taken as one class.")
        class_of_id[i] = index_of_name.setdefault(key, len(index_of_name))
    return list(index_of_name), class_of_id


def folders(root: Path, images: list[str]) -> list[Path]:
    """Root, and where images lie outside it."""
    outside = sorted({os.path.dirname(image) for image in images if image.startswith("/")})  # noqa: PTH120
    return [root, *map(Path, outside)]
