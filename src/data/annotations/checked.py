"""From what annotation files say to boxes that can be trained on: images found, boxes repaired, classes named.

Shapes: N images, M boxes. Imports no torch.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from src.data.annotations.class_names import used_classes
from src.data.annotations.findings import NO_NUMBER, BoxFinding, BoxFindings
from src.data.annotations.frames import find_frames, turned
from src.data.annotations.headers import read_headers
from src.data.annotations.image_paths import MISSING, ImagePlaces, placed
from src.data.annotations.placed_outlines import placed_outlines
from src.data.annotations.raw import RawBoxes
from src.data.annotations.repair import FINE, repaired
from src.data.annotations.units import Meaning, corners, in_pixels
from src.data.outlines import Outlines
from src.settings.errors import ConfigError
from src.settings.plurals import number_of

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CheckedBoxes:
    """`paths`, `splits`, `groups` text [N]; `sizes_wh` int64 [N, 2], upright. Of each box, by ascending image:
    `image_M` int64, `boxes_xyxy` float32 [M, 4] as in `Boxes`, `class_M` int64 indices into `class_names`, `crowd_M`
    bool; and where it is written: `file_M` int32, index into `files` (text), and `number_M` int64 as in RawBoxes.
    `folders`: those with annotations or images. `outlines`: of each box, in the same pixels; None if unwanted.
    """

    paths: npt.NDArray[Any]
    splits: npt.NDArray[Any]
    groups: npt.NDArray[Any] | None
    sizes_wh: npt.NDArray[np.int64]
    image_M: Ids
    boxes_xyxy: npt.NDArray[np.float32]
    class_M: Ids
    crowd_M: npt.NDArray[np.bool_]
    file_M: npt.NDArray[np.int32]
    number_M: Ids
    files: npt.NDArray[Any]
    class_names: list[str]
    findings: BoxFindings
    notes: list[str]
    folders: list[str]
    outlines: Outlines | None = None


def check_boxes(raw: RawBoxes, root: Path, max_megapixels: float) -> CheckedBoxes:
    """Raises ConfigError if there are no images, or none of them is found."""
    if not len(raw.images):
        raise ConfigError(f"data.root='{root}': the annotations name no image.")
    places = ImagePlaces(root, raw.folders)
    paths = places.find(raw.images, raw.sources, raw.splits)
    missing = np.flatnonzero(paths == MISSING)
    notes = [*raw.notes, *places.notes]
    not_read = [BoxFinding("not_read", "", place, NO_NUMBER, what) for what, place in raw.problems]
    findings = [BoxFindings.of(not_read), about_images("image_missing", raw.images[missing], raw.sources[missing])]
    if len(missing) == len(paths):
        tried = ", ".join(dict.fromkeys([*map(str, raw.folders), str(root)]))
        raise ConfigError(
            f"data.root='{root}': none of the {len(paths):,} images that the annotations name is there, e.g. "
            f"'{raw.images[0]}'. Looked in {tried}, beside the annotation files, and by name everywhere below it: "
            "set data.root to the folder that holds the images too."
        )
    raw = only(raw, paths != MISSING)
    paths = paths[paths != MISSING]
    return with_boxes(raw, paths, root, max_megapixels, notes, findings)


def with_boxes(
    raw: RawBoxes,
    paths: npt.NDArray[Any],
    root: Path,
    max_megapixels: float,
    notes: list[str],
    findings: list[BoxFindings],
) -> CheckedBoxes:
    headers = read_headers(root, paths, max_megapixels)
    bad = np.array(list(headers.problems), dtype=np.int64)
    findings.append(about_images("image_unreadable", paths[bad], raw.sources[bad], list(headers.problems.values())))
    frames = find_frames(headers, raw.stated_wh.astype(np.int64), reach(raw), raw.relative)
    sizes = frames.frame_wh[raw.image_M]
    boxes_as_written = in_pixels(raw, sizes, notes)
    notes += frames.notes
    boxes, usable, kinds = repaired(boxes_as_written, sizes, raw.form == "xyxy")
    nameless = (raw.class_M < 0) | (raw.class_M >= len(raw.class_names))
    usable &= ~nameless
    kinds[nameless] = "no_class"
    findings.append(about_boxes(raw, paths, np.flatnonzero(kinds != FINE), kinds, sizes))
    image_M = raw.image_M[usable]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.tile(frames.drawn_wh[image_M] / frames.frame_wh[image_M], 2)
    boxes = turned(boxes[usable] * scale, frames.drawn_wh[image_M], frames.turn[image_M])
    outlines = raw.outlines and placed_outlines(raw, raw.outlines, np.flatnonzero(usable), frames, notes)
    files, file_N = np.unique(raw.sources, return_inverse=True)
    names, class_M = used_classes(raw.class_names, raw.class_M[usable], file_N[image_M], notes)
    return once_each(
        CheckedBoxes(
            paths, raw.splits, raw.groups, np.maximum(frames.upright_wh, 1), image_M, boxes.astype(np.float32), class_M,
            raw.crowd_M[usable], file_N[image_M].astype(np.int32), raw.number_M[usable], files, names,
            BoxFindings.joined(findings), notes, folders_of(root, raw.sources, paths), outlines,
        )
    )  # fmt: skip


def reach(raw: RawBoxes) -> npt.NDArray[np.float64]:
    """How far right and down the boxes of each image go, as written, [N, 2]; 0 without boxes."""
    ends = corners(raw.coordinates, Meaning(raw.form, "pixels"), np.empty((0, 2), dtype=np.int64))[:, 2:]
    reach_xy = np.zeros((len(raw.images), 2))
    np.maximum.at(reach_xy, raw.image_M, np.where(np.isfinite(ends), ends, 0))
    return reach_xy


def folders_of(root: Path, *columns: npt.NDArray[Any]) -> list[str]:
    """The folders that these paths lie in, absolute and sorted."""
    folders = {os.path.dirname(path) for paths in columns for path in paths.tolist() if path}  # noqa: PTH120
    return sorted({placed(folder, str(root.absolute())) for folder in folders})


def only(raw: RawBoxes, there: npt.NDArray[np.bool_]) -> RawBoxes:
    """The images of the mask [N], and their boxes."""
    row_N = np.cumsum(there) - 1
    kept = there[raw.image_M]
    return RawBoxes(
        raw.images[there], raw.sources[there], raw.splits[there], raw.stated_wh[there], row_N[raw.image_M[kept]],
        raw.coordinates[kept], raw.class_M[kept], raw.crowd_M[kept], raw.number_M[kept], raw.class_names, raw.form,
        raw.relative, raw.folders, raw.first_pixel, raw.notes, None if raw.groups is None else raw.groups[there],
        raw.problems, raw.outlines and raw.outlines.take(np.flatnonzero(kept)),
    )  # fmt: skip


def about_images(
    kind: str, images: npt.NDArray[Any], sources: npt.NDArray[Any], details: list[str] | None = None
) -> BoxFindings:
    texts = zip(images.tolist(), sources.tolist(), details or [""] * len(images), strict=True)
    return BoxFindings.of([BoxFinding(kind, image, source, NO_NUMBER, detail) for image, source, detail in texts])


def about_boxes(
    raw: RawBoxes, paths: npt.NDArray[Any], boxes: Ids, kinds: npt.NDArray[np.object_], sizes: npt.NDArray[np.int64]
) -> BoxFindings:
    """The boxes that are named by their places, int64 [m], each with its numbers as they are written."""
    found = []
    for box in boxes.tolist():
        image, (width, height) = int(raw.image_M[box]), sizes[box].tolist()
        numbers = " ".join(f"{value:.6g}" for value in raw.coordinates[box].tolist())
        detail = f"{raw.form} {numbers} in {width} x {height}"
        found.append(BoxFinding(kinds[box], str(paths[image]), str(raw.sources[image]), int(raw.number_M[box]), detail))
    return BoxFindings.of(found)


def once_each(found: CheckedBoxes) -> CheckedBoxes:
    """Images that are named again in their split become one with all boxes; those in several splits stay, and it is
    said.
    """
    keys = list(zip(found.paths.tolist(), found.splits.tolist(), strict=True))
    first: dict[tuple[str, str], int] = {}
    row_N = np.array([first.setdefault(key, len(first)) for key in keys], dtype=np.int64)
    notes = list(found.notes)
    if len(first) > (unique := len({path for path, _ in first})):
        which = number_of(len(first) - unique, "image is", "images are")
        notes.append(f"{which} in more than one split, so that nothing is measured with them.")
    if len(first) == len(keys):
        return CheckedBoxes(**{**vars(found), "notes": notes})
    notes.append(f"{number_of(len(keys) - len(first), 'time')} an image is named again: its boxes are put together.")
    _, kept = np.unique(row_N, return_index=True)
    image_M = row_N[found.image_M]
    order = np.argsort(image_M, kind="stable")
    return CheckedBoxes(
        found.paths[kept], found.splits[kept], None if found.groups is None else found.groups[kept],
        found.sizes_wh[kept], image_M[order], found.boxes_xyxy[order], found.class_M[order], found.crowd_M[order],
        found.file_M[order], found.number_M[order], found.files, found.class_names, found.findings, notes,
        found.folders, found.outlines and found.outlines.take(order),
    )  # fmt: skip
