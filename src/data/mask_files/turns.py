"""Which masks are turned with their image, where EXIF turns that. Imports no torch."""

import numpy as np
import numpy.typing as npt

from src.data.mask_files.look import FIRST_ON_ITS_SIDE, UPRIGHT, MaskLook
from src.settings.plurals import number_of


def turns_of(looks: list[MaskLook], notes: list[str]) -> npt.NDArray[np.int8]:
    """EXIF orientation by which each mask is to be turned, 1 = not; int8 [N].

    A mask of the size of the image as it is stored was drawn before the turn, one of the upright size behind it. Of a
    square, mirrored or upside-down image the size does not tell: it is not turned, unless those of all images whose
    size tells are.
    """
    turned = [look.orientation > UPRIGHT for look in looks]
    tells = [look.orientation >= FIRST_ON_ITS_SIDE and look.stored_wh != look.upright_wh for look in looks]
    as_stored = [tells[n] and look.mask_wh == look.stored_wh for n, look in enumerate(looks)]
    upright = [tells[n] and not as_stored[n] for n in range(len(looks))]
    unclear = [turned[n] and not tells[n] for n in range(len(looks))]
    follow = any(as_stored) and not any(upright)
    for which, text in (
        (as_stored, "their masks have the size of the stored image: they are turned with it"),
        (upright, "their masks have the size of the upright image: they stay as they are"),
        (unclear, "no size tells whether their masks were drawn before or after: " + (
            "they are turned, like those of the images where it tells" if follow else "they stay as they are"
        )),
    ):  # fmt: skip
        if count := sum(which):
            notes.append(f"EXIF turns {number_of(count, 'image')}, and {text}.")
    turn = [as_stored[n] or (unclear[n] and follow) for n in range(len(looks))]
    return np.array([look.orientation if turn[n] else UPRIGHT for n, look in enumerate(looks)], dtype=np.int8)
