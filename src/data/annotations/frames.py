"""In which pixels boxes count: of the image as it is stored or as it stands upright, or of another size of it.

Annotation files say an image's width and height. If EXIF turns the image, these tell whether its boxes were drawn
before or after the turn. Shapes: N images, M boxes. Imports no torch.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from src.data.annotations.headers import Headers
from src.settings.plurals import number_of

ALIKE = 0.02  # by which the proportions of two sizes may differ, relatively: what rounding does to small images
MISFITS = 0.05  # share of the images with boxes beyond the stated size from which it is not believed
BEYOND = 1.02  # of the stated size
FIRST_ON_ITS_SIDE = 5  # EXIF orientations from here on exchange width and height
Sizes = npt.NDArray[np.int64]


@dataclass
class Frames:
    """`frame_wh` int64 [N, 2]: the size in whose pixels an image's boxes count. `drawn_wh`: what it has in truth where
    they were drawn, before or after the turn. `turn` int8 [N]: EXIF orientation by which its boxes are to be turned, 1
    = not. `upright_wh`: of the image as people see it. Sizes of images that cannot be read are 0 if none is stated.
    """

    frame_wh: Sizes
    drawn_wh: Sizes
    turn: npt.NDArray[np.int8]
    upright_wh: Sizes
    notes: list[str] = field(default_factory=list)


def find_frames(headers: Headers, stated_wh: Sizes, reach_xy: npt.NDArray[np.float64], relative: bool) -> Frames:
    """`stated_wh` as in RawBoxes, `reach_xy` [N, 2]: how far right and down the boxes of an image go, in pixels as
    written; `relative`: boxes in shares fit every size.
    """
    notes: list[str] = []
    stated, readable = (stated_wh > 0).all(axis=1), (headers.stored_wh > 0).all(axis=1)
    told = np.asarray(stated & readable)
    on_side = headers.orientation >= FIRST_ON_ITS_SIDE
    upright_wh = np.where(on_side[:, None], headers.stored_wh[:, ::-1], headers.stored_wh)
    turns = before_turn(headers, stated_wh, upright_wh, told, notes)
    drawn_wh = np.where(turns[:, None], headers.stored_wh, upright_wh)
    frame_wh = drawn_wh.copy()
    if not relative:
        scaled = of_other_size(drawn_wh, stated_wh, reach_xy, told, notes)
        frame_wh[scaled] = stated_wh[scaled]
    lost = ~readable & stated
    for sizes in (frame_wh, drawn_wh, upright_wh):
        sizes[lost] = stated_wh[lost]
    return Frames(frame_wh, drawn_wh, np.where(turns, headers.orientation, 1).astype(np.int8), upright_wh, notes)


def before_turn(
    headers: Headers, stated_wh: Sizes, upright_wh: Sizes, told: npt.NDArray[np.bool_], notes: list[str]
) -> npt.NDArray[np.bool_]:
    """Whether boxes were drawn on the image as it is stored, and EXIF turns it afterwards. bool [N].

    Where the stated size does not tell, since there is none, or the image is square, mirrored or upside down, they were
    drawn on the upright image, unless those of all images whose size tells were not.
    """
    any_turn = headers.orientation > 1
    tells = told & (headers.orientation >= FIRST_ON_ITS_SIDE) & ~alike(headers.stored_wh, upright_wh)
    stored = tells & alike(stated_wh, headers.stored_wh)
    upright = tells & alike(stated_wh, upright_wh)
    unclear = any_turn & ~stored & ~upright
    as_stored = bool(stored.any() and not upright.any())
    for which, text in (
        (stored, "the stated size is that of the file: boxes are turned with the image"),
        (upright, "the stated size is that of the upright image: boxes stay"),
        (unclear, "no stated size tells whether boxes were drawn before or after: " + (
            "they are turned, as those of the images where it tells" if as_stored else "boxes stay"
        )),
    ):  # fmt: skip
        if count := int(which.sum()):
            notes.append(f"EXIF turns {number_of(count, 'image')}, and {text}.")
    return np.asarray(stored | (unclear & as_stored))


def of_other_size(
    drawn_wh: Sizes, stated_wh: Sizes, reach_xy: npt.NDArray[np.float64], told: npt.NDArray[np.bool_], notes: list[str]
) -> npt.NDArray[np.bool_]:
    """Whether boxes count in the pixels of the stated size, which the image had once. bool [N]."""
    other = told & (drawn_wh != stated_wh).any(axis=1)
    resized = other & alike(drawn_wh, stated_wh)
    misfits = resized & (reach_xy > BEYOND * stated_wh).any(axis=1) & (reach_xy <= BEYOND * drawn_wh).all(axis=1)
    believed = misfits.sum() <= MISFITS * resized.sum()
    if count := int(resized.sum()):
        what = "boxes are scaled with them" if believed else "boxes reach beyond that, so that it is not believed"
        which = number_of(count, "image has", "images have")
        notes.append(f"{which} another size than the annotations state, in the same proportions: {what}.")
    if count := int((other & ~resized).sum()):
        which = number_of(count, "image has", "images have")
        notes.append(
            f"{which} another size than the annotations state, in other proportions: boxes are "
            "taken to be in the pixels of the image."
        )
    return np.asarray(resized & believed)


def alike(one_wh: Sizes, other_wh: Sizes) -> npt.NDArray[np.bool_]:
    """Whether two sizes have the same proportions, up to what rounding does. bool [N]."""
    one, other = one_wh[:, 0] * other_wh[:, 1], one_wh[:, 1] * other_wh[:, 0]
    return np.asarray(np.abs(one - other) <= ALIKE * np.maximum(one, other))


def turned(
    boxes_xyxy: npt.NDArray[np.float64], stored_wh: Sizes, orientation: npt.NDArray[np.int8]
) -> npt.NDArray[np.float64]:
    """Boxes [M, 4] in the pixels of the stored image, in those of the upright one; size and EXIF orientation of each
    box's.

    The EXIF standard (CIPA DC-008) has the eight orientations; `PIL.ImageOps.exif_transpose` turns images by them.
    """
    x1, y1, x2, y2 = boxes_xyxy.T
    width, height = stored_wh.T
    from_right, from_bottom = (width - x2, width - x1), (height - y2, height - y1)
    across, down = (x1, x2), (y1, y2)
    new_x = {2: from_right, 3: from_right, 4: across, 5: down, 6: from_bottom, 7: from_bottom, 8: down}
    new_y = {2: down, 3: from_bottom, 4: from_bottom, 5: across, 6: across, 7: from_right, 8: from_right}
    result = boxes_xyxy.copy()
    for code, (left, right) in new_x.items():
        which = orientation == code
        if which.any():
            top, bottom = new_y[code]
            result[which] = np.stack([left, top, right, bottom], axis=1)[which]
    return result
