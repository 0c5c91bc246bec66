"""Outlines as files have them become outlines in the pixels of upright images, as boxes do. Imports no torch.

Shapes: N images, M objects, m of them, p corners.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from src.data.annotations.frames import Frames, turned
from src.data.annotations.raw import RawBoxes
from src.data.annotations.units import Meaning, find_unit, groups
from src.data.outlines import Outlines

Ints = npt.NDArray[np.int64]


def placed_outlines(raw: RawBoxes, outlines: Outlines, kept_m: Ints, frames: Frames, notes: list[str]) -> Outlines:
    """Of the objects `kept_m`. What was found to mean something else than the format says is added to `notes`."""
    image_m = raw.image_M[kept_m]
    with np.errstate(divide="ignore", invalid="ignore"):
        to_drawn_m2 = frames.drawn_wh[image_m] / frames.frame_wh[image_m]
    scale_m2 = point_scales(raw, outlines, frames.frame_wh[raw.image_M], notes)[kept_m] * to_drawn_m2
    outlines = outlines.take(kept_m)
    object_p = outlines.object_of_point
    points_p2 = outlines.points * scale_m2[object_p]
    sizes_p2, turns_p = frames.drawn_wh[image_m][object_p], frames.turn[image_m][object_p]
    points_p2 = turned(np.tile(points_p2, 2), sizes_p2, turns_p)[:, :2]
    outlines = replace(outlines, points=points_p2.astype(np.float32))
    return turned_masks(outlines, frames.turn[image_m])


def point_scales(
    raw: RawBoxes, outlines: Outlines, frame_wh: npt.NDArray[np.int64], notes: list[str]
) -> npt.NDArray[np.float64]:
    """Pixels of the frame for one unit of the polygons, across and down, [M, 2]; `frame_wh` of each object."""
    scale_M2, hulls_M4 = np.ones((len(outlines), 2)), outlines.hulls()
    said = Meaning("xyxy", "shares" if raw.relative else "pixels")
    for source, rows in groups(raw).items():
        known = rows[np.isfinite(hulls_M4[rows]).all(axis=1) & (frame_wh[rows] > 0).all(axis=1)]
        if not len(known):
            continue
        unit = find_unit(hulls_M4[known], frame_wh[known], said)
        if unit != said.unit:
            notes.append(f"{source}: outlines are in {unit} and not in {said.unit}.")
        if unit != "pixels":
            scale_M2[rows] = frame_wh[rows] / (100 if unit == "percent" else 1)
    return scale_M2


def turned_masks(outlines: Outlines, turn_m: npt.NDArray[np.int8]) -> Outlines:
    """With run lengths of the upright image, of stored images that are turned by these EXIF orientations."""
    rows = np.flatnonzero((turn_m > 1) & (np.diff(outlines.code_starts) > 0))
    if not len(rows):
        return outlines
    masks = [turned_mask(outlines.mask(m), int(turn_m[m])) for m in rows.tolist()]
    places_m = np.arange(len(outlines))
    places_m[rows] = len(outlines) + np.arange(len(rows))
    return Outlines.joined([outlines, Outlines.of_masks(masks)]).take(places_m)


def turned_mask(mask_HW: npt.NDArray[np.bool_], orientation: int) -> npt.NDArray[np.bool_]:
    """As `PIL.ImageOps.exif_transpose` turns an image."""
    across = mask_HW.T if orientation in (5, 6, 7, 8) else mask_HW
    down, right = (slice(None, None, -1 if orientation in codes else 1) for codes in ((3, 4, 7, 8), (2, 3, 6, 7)))
    return np.ascontiguousarray(across[down, right])
