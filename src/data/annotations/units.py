"""What the four numbers of a box mean: corners or sizes, pixels, shares or percent. What a format says is checked on
all boxes of a file together, or of the data set where each image has a file of its own: never box by box. No torch.

Shapes: M boxes.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from src.data.annotations.raw import RawBoxes

Form = Literal["xyxy", "xywh", "cxcywh"]
Unit = Literal["pixels", "shares", "percent"]
Floats = npt.NDArray[np.float64]

WORDS = {"xyxy": "two corners", "xywh": "a corner and a size", "cxcywh": "a centre and a size"}
IMAGES_PER_FILE = 10  # from which a file is looked at on its own
SLACK = 0.1  # of an image's side: boxes that reach farther beyond it were not meant so
FEW_FIT = 0.8  # share of boxes that make sense as the format says below which another form is tried
MOST_FIT = 0.99  # share of them that then must make sense
MISFITS = 3  # boxes that make no sense, without which nothing is concluded
SHARES_END = 1.01  # shares end at 1, but for rounding
NO_SHARE = 1.5  # numbers from here on are none, even of boxes that reach beyond their image
PERCENT_END = 100.5
PERCENT_BOXES = 10  # fewer boxes may all lie in the first hundred pixels by chance
PERCENT_REACH = 50.0  # how far some box goes if it is percent
PERCENT_IMAGE_PX = 200  # images have at least this on each side, if numbers up to 100 are to be told from pixels


@dataclass(frozen=True)
class Meaning:
    form: Form
    unit: Unit

    def __str__(self) -> str:
        return f"{WORDS[self.form]} in {self.unit}"


def in_pixels(raw: RawBoxes, frame_wh: npt.NDArray[np.int64], notes: list[str]) -> Floats:
    """Corners [M, 4] of all boxes in pixels of their frames, x2 and y2 exclusive, not repaired; `frame_wh` of each box.

    What was found to mean something else than the format says is added to `notes`.
    """
    boxes_xyxy = np.empty_like(raw.coordinates)
    for source, rows in groups(raw).items():
        values, sizes = raw.coordinates[rows], frame_wh[rows]
        said = Meaning(raw.form, "shares" if raw.relative else "pixels")
        meant = find_meaning(values, sizes, said)
        if meant != said:
            notes.append(f"{source}: boxes are {meant} and not {said}: nothing else makes sense of all {len(rows):,}.")
        first = first_pixel(raw.first_pixel, values, source, notes) if meant.unit == "pixels" else 0
        boxes_xyxy[rows] = corners(values, meant, sizes, first)
    return boxes_xyxy


def groups(raw: RawBoxes) -> dict[str, npt.NDArray[np.int64]]:
    """Boxes that are looked at together, by the file that they are from; one group where files have few images."""
    files, of_image = np.unique(raw.sources, return_inverse=True)
    if len(files) * IMAGES_PER_FILE > len(raw.images):
        return {"All annotations": np.arange(len(raw.image_M))} if len(raw.image_M) else {}
    of_box = of_image[raw.image_M]
    found = {str(file): np.flatnonzero(of_box == place) for place, file in enumerate(files.tolist())}
    return {file: rows for file, rows in found.items() if len(rows)}


def find_meaning(values: Floats, sizes: npt.NDArray[np.int64], said: Meaning) -> Meaning:
    """What the numbers [m, 4] mean, in images of these sizes [m, 2]: as `said`, unless only something else makes
    sense.
    """
    usable = np.isfinite(values).all(axis=1) & (sizes > 0).all(axis=1)
    values, sizes = values[usable], sizes[usable]
    if not len(values):
        return said
    unit = find_unit(values, sizes, said)
    fits = {form: make_sense(corners(values, Meaning(form, unit), sizes), sizes) for form in get_args(Form)}
    if (~fits[said.form]).sum() >= MISFITS and fits[said.form].mean() < FEW_FIT:
        others = [form for form, fit in fits.items() if form != said.form and fit.mean() >= MOST_FIT]
        if len(others) == 1:
            return Meaning(others[0], unit)
    return Meaning(said.form, unit)


def find_unit(values: Floats, sizes: npt.NDArray[np.int64], said: Meaning) -> Unit:
    percent = is_percent(values, sizes, said.form)
    if said.unit == "shares":
        if (values.max(axis=1) > NO_SHARE).mean() <= 0.5:
            return "shares"
        return "percent" if percent else "pixels"
    if 0 < values.max() <= SHARES_END and np.abs(values).max() <= SHARES_END:
        return "shares"  # no box has less than a pixel
    return "percent" if percent else "pixels"


def is_percent(values: Floats, sizes: npt.NDArray[np.int64], said: Form) -> bool:
    """Whether the numbers end where percent end, in images that go on behind the hundredth pixel."""
    if len(values) < PERCENT_BOXES or values.max() > PERCENT_END or sizes.min() < PERCENT_IMAGE_PX:
        return False
    fits = {form: make_sense(corners(values, Meaning(form, "percent"), sizes), sizes).mean() for form in get_args(Form)}
    forms = [said] if fits[said] >= FEW_FIT else [form for form, fit in fits.items() if fit >= MOST_FIT]
    farthest = [corners(values, Meaning(form, "pixels"), sizes).max() for form in forms]
    return any(PERCENT_REACH < far <= PERCENT_END for far in farthest)


def make_sense(boxes_xyxy: Floats, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether each box has a size and lies about within its image. bool [m]."""
    limit = sizes * (1 + SLACK)
    inside = (boxes_xyxy[:, :2] >= -SLACK * sizes).all(axis=1) & (boxes_xyxy[:, 2:] <= limit).all(axis=1)
    return np.asarray(inside & (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1))


def first_pixel(said: int, values: Floats, source: str, notes: list[str]) -> int:
    """0 or 1: where pixels are counted from. Boxes at the edge begin with it, most of them, if any do."""
    if said == 0:
        return 0
    if (values[:, :2] == 0).sum() > (values[:, :2] == 1).sum():
        notes.append(f"{source}: pixels are counted from 0 and not from 1, since more boxes begin there.")
        return 0
    return said


def corners(values: Floats, meaning: Meaning, sizes: npt.NDArray[np.int64], first: int = 0) -> Floats:
    """Two corners [m, 4] in pixels. Of pixels counted from 1, the last one belongs to the box (as in Pascal VOC), so
    that its number is where the box ends.
    """
    begin, end = values[:, :2], values[:, 2:]
    if meaning.form == "xyxy":
        begin = begin - first
    elif meaning.form == "xywh":
        begin, end = begin - first, begin - first + end
    else:
        begin, end = begin - first - end / 2, begin - first + end / 2
    if meaning.unit != "pixels":
        scale = sizes if meaning.unit == "shares" else sizes / 100
        begin, end = begin * scale, end * scale
    return np.concatenate([begin, end], axis=1)
