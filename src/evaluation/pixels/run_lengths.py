"""Masks as run lengths, in the text that COCO compresses them to, and back.

Runs alternate between outside and inside, begin outside, and go down the columns (cocoapi, common/maskApi.c). Their
text has groups of 5 bits, the lowest first, each with a bit for whether another follows, and from the fourth run on the
difference to the run two before. Shapes: R runs, H and W pixels.
"""

import numpy as np
import numpy.typing as npt

Runs = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

FIRST = 48  # code of the character for 0
MORE, SIGN, BITS = 32, 16, 5
MOST_GROUPS = 12  # of a run: 60 bits


def runs_of_text(text: bytes | str) -> Runs:
    """[R]. Raises ValueError if it breaks off, has other characters, or runs beyond any image."""
    codes = np.frombuffer(text.encode("utf-8") if isinstance(text, str) else text, dtype=np.uint8).astype(np.int64)
    codes -= FIRST
    if not len(codes):
        return codes
    if codes.min() < 0 or codes.max() >= 2 * MORE or codes[-1] & MORE:
        raise ValueError("no run lengths as COCO compresses them")
    ends = np.flatnonzero(codes & MORE == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (ends - starts).max() >= MOST_GROUPS:
        raise ValueError("no run is that long")
    place = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    runs = np.add.reduceat((codes & (MORE - 1)) << (BITS * place), starts)
    negative = codes[ends] & SIGN > 0
    runs[negative] -= np.int64(1) << (BITS * (ends - starts + 1)[negative])
    for first in (1, 2):
        runs[first::2] = np.cumsum(runs[first::2])
    return runs


def text_of_runs(runs: Runs) -> bytes:
    """As cocoapi writes it."""
    values = runs.copy()
    values[3:] -= runs[1:-2]
    groups = np.ones(len(values), dtype=np.int64)
    for count in range(1, MOST_GROUPS):
        limit = SIGN << (BITS * (count - 1))
        groups += (values < -limit) | (values >= limit)
    ends = np.cumsum(groups)
    place = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - groups, groups)
    codes = (np.repeat(values, groups) >> (BITS * place)) & (MORE - 1)
    codes += MORE
    codes[ends - 1] -= MORE
    return bytes((codes + FIRST).astype(np.uint8))


def runs_of_mask(mask_HW: Mask) -> Runs:
    pixels = np.ascontiguousarray(mask_HW.T).reshape(-1)
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    ends = np.concatenate([changes, [len(pixels)]]).astype(np.int64)
    runs = np.diff(ends, prepend=0)
    return np.concatenate([[0], runs]) if len(pixels) and pixels[0] else runs


def mask_of_runs(runs: Runs, size_hw: tuple[int, int]) -> Mask:
    """bool [H, W]; the rest is outside. Raises ValueError if the runs do not fit."""
    height, width = size_hw
    if len(runs) and (runs.min() < 0 or runs.sum() > height * width):
        raise ValueError("the runs do not fit the image")
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    pixels = np.zeros(height * width, dtype=np.bool_)
    pixels[: len(inside)] = inside
    return np.asarray(pixels.reshape(width, height).T)
