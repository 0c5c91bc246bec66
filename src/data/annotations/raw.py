"""What files of annotations say, before anything is checked: columns, as one reader of each format gives them.

Shapes: N images, M objects, K classes.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from src.data.outlines import Outlines


@dataclass
class RawBoxes:
    """Boxes as they were written down.

    `images`: names of the images as the files write them, text [N]. `sources`: the annotation file of each image, text
    [N]; empty where there is none. `splits`: train, val or test of each image, text [N]; empty = not split.
    `stated_wh`: width and height that the annotation gives, int32 [N, 2]; 0 = none.
    `image_M`: the image of each box, int64 [M], ascending. `coordinates` float64 [M, 4], in the order of `form`:
    corners, or corner and size, or centre and size; in shares of the image's width and height if `relative`, else in
    pixels, counted from `first_pixel`. `class_M`: indices into `class_names`, int64 [M]. `crowd_M`: see Boxes.
    `number_M`: by which the file tells its objects apart (id, line, number of the object), int64 [M].
    `folders`: where images may lie, the likeliest first. `notes`: what the log should say. `groups`: of each image what
    must stay in one split, text [N]; empty = a group of its own; None = there are no groups. `problems`: what could not
    be read, and where it stands; `notes` have it too. `outlines` of the M objects, polygons in the units of the
    coordinates; None where nobody asked for them, or the format has none.
    """

    images: npt.NDArray[Any]
    sources: npt.NDArray[Any]
    splits: npt.NDArray[Any]
    stated_wh: npt.NDArray[np.int32]
    image_M: npt.NDArray[np.int64]
    coordinates: npt.NDArray[np.float64]
    class_M: npt.NDArray[np.int64]
    crowd_M: npt.NDArray[np.bool_]
    number_M: npt.NDArray[np.int64]
    class_names: list[str]
    form: Literal["xyxy", "xywh", "cxcywh"]
    relative: bool
    folders: list[Path]
    first_pixel: int = 0
    notes: list[str] = field(default_factory=list)
    groups: npt.NDArray[Any] | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)
    outlines: Outlines | None = None
