"""What a pixel of a mask file says, as one number: its value, or its colour. Imports no torch.

A code below COLOR is the value (or index into the palette) that is stored; COLOR + 65536 red + 256 green + blue is that
of a colour.
"""

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]

COLOR = 1 << 32
OTHERS = -1  # stands for values beyond those that are told apart
VOID_VALUE = 255  # by convention, unless somebody names it
FULL = 255  # the other value of masks of two classes


def code_of_color(red: int, green: int, blue: int) -> int:
    return COLOR + (red << 16) + (green << 8) + blue


def codes_of_colors(colors: npt.NDArray[np.uint8]) -> Codes:
    """Of RGB [..., 3]."""
    wide = colors.astype(np.int64)
    return np.asarray(COLOR + (wide[..., 0] << 16) + (wide[..., 1] << 8) + wide[..., 2])


def is_color(code: int) -> bool:
    return code >= COLOR


def text_of(code: int) -> str:
    """As people write it: 7, or 128,64,0."""
    if code == OTHERS:
        return "others"
    if not is_color(code):
        return str(code)
    return ",".join(str((code >> shift) & 255) for shift in (16, 8, 0))
