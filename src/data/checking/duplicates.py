"""Images that occur more than once: the same bytes, or copies that were resized, recompressed or brightened.

A near duplicate has nearly the same difference hash (which of two neighbouring regions is brighter, in both directions,
128 bits) and nearly the same coarse image; the second keeps flat or similarly composed images apart.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE_PX = 144  # divides into 8, 9 and 16 regions
NOISE = 2.0  # grey levels 0..255 by which a region must be brighter: flat regions give zeros and not noise
BANDS = 8  # of 16 bits each: hashes that differ in up to 7 bits agree in one of them
WINDOW = 100  # neighbours that an image is compared with where very many share a band (blank pages, black frames)
CHUNK = 65536
Bytes = npt.NDArray[np.uint8]

# Limits on the coarse images, in levels 0..255. On 397 photographs, copies at half size, at JPEG quality 60 or 10 %
# brighter correlated by at least 0.99, and different photographs by at most 0.84. Handwritten digits, alike by nature,
# set the limit: at 0.98, 3 % of 1,797 at 64 pixels seem to be copies, at 0.95 36 %.
MIN_CORRELATION = 0.98
MAX_SHIFT = 40.0  # of the mean grey: 20 % brighter is found, as far as nothing clips
MAX_CONTRAST = 1.5  # factor between the standard deviations
MAX_CHROMA = 10.0  # mean absolute difference
FLAT = 4.0  # standard deviation of the grey below which there is nothing to correlate
MAX_FLAT_DIFFERENCE = 1.5  # mean absolute difference of flat images, grey and chroma


@dataclass(frozen=True)
class Fingerprint:
    """Of one image: `bits` uint8 [16], `gray` uint8 [256] (16 x 16 regions), `chroma` uint8 [32] (4 x 4 Cb, Cr)."""

    bits: Bytes
    gray: Bytes
    chroma: Bytes


def fingerprint(image: Image.Image) -> Fingerprint:
    """What two copies of an image have in common, from RGB."""
    ycc_HWC = np.asarray(image.convert("YCbCr").resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX), dtype=np.float32)
    gray_HW = ycc_HWC[..., 0]
    wide, high = means(gray_HW, 8, 9), means(gray_HW, 9, 8)
    brighter = np.concatenate([(np.diff(wide, axis=1) > NOISE).ravel(), (np.diff(high, axis=0) > NOISE).ravel()])
    # Every band of 16 bits takes bits from all over the image, so that few images share one by chance.
    bits = np.packbits(brighter.reshape(-1, BANDS).T.ravel())
    cb_cr = np.stack([means(ycc_HWC[..., 1], 4, 4), means(ycc_HWC[..., 2], 4, 4)])
    gray, chroma = (np.rint(values).astype(np.uint8).ravel() for values in (means(gray_HW, 16, 16), cb_cr))
    return Fingerprint(bits, gray, chroma)


def means(values_HW: npt.NDArray[np.float32], rows: int, columns: int) -> npt.NDArray[np.float32]:
    """Mean of each of rows x columns equal regions."""
    blocks = values_HW.reshape(rows, SIDE_PX // rows, columns, SIDE_PX // columns)
    return blocks.mean(axis=(1, 3))  # type: ignore[no-any-return]


def first_of_same(digests_NB: Bytes) -> npt.NDArray[np.int64]:
    """For each row the first row with the same digest: itself, if there is none before. int64 [N]."""
    keys_N = np.ascontiguousarray(digests_NB).view(f"V{digests_NB.shape[1]}").ravel()
    _, first, group_N = np.unique(keys_N, return_index=True, return_inverse=True)
    return first[group_N]


def near_pairs(bits_NB: Bytes, gray_NP: Bytes, chroma_NP: Bytes, max_bits: int) -> npt.NDArray[np.int64]:
    """Rows of near duplicates, int64 [P, 2], the lower one first.

    All pairs whose hashes differ in up to 7 bits are found, and most of those up to `max_bits`: only images that
    agree in one of eight bands of the hash are compared, so the time grows with N log N and not with N squared.
    """
    # Sorted by the whole hash and the brightness: where very many share a band, the likeliest are neighbours.
    order_N = np.lexsort([gray_NP.mean(axis=1), *bits_NB.T])
    words_N2 = np.ascontiguousarray(bits_NB).view(np.uint64)
    bands_NB = np.ascontiguousarray(bits_NB).view(np.uint16)
    found = []
    for band in range(BANDS):
        rows = order_N[np.argsort(bands_NB[order_N, band], kind="stable")]
        keys = bands_NB[rows, band]
        for offset in range(1, min(WINDOW, len(rows) - 1) + 1):
            places = np.flatnonzero(keys[offset:] == keys[:-offset])
            if not len(places):
                break
            for start in range(0, len(places), CHUNK):
                part = places[start : start + CHUNK]
                one, other = rows[part], rows[part + offset]
                distance = np.bitwise_count(words_N2[one] ^ words_N2[other]).sum(axis=1)
                new = ~(bands_NB[one, :band] == bands_NB[other, :band]).any(axis=1)  # else seen in that band
                one, other = one[(distance <= max_bits) & new], other[(distance <= max_bits) & new]
                same = look_alike(gray_NP[one], gray_NP[other], chroma_NP[one], chroma_NP[other])
                found.append(np.sort(np.stack([one[same], other[same]], axis=1), axis=1))
    pairs = np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)
    return pairs[np.lexsort(pairs.T[::-1])]


def look_alike(gray_PX: Bytes, other_gray_PX: Bytes, chroma_PX: Bytes, other_chroma_PX: Bytes) -> npt.NDArray[np.bool_]:
    """Whether the coarse images of each pair are the same but for brightness and contrast. bool [P]."""
    a, b = gray_PX.astype(np.float32), other_gray_PX.astype(np.float32)
    chroma = np.abs(chroma_PX.astype(np.float32) - other_chroma_PX.astype(np.float32)).mean(axis=1)
    difference, shift = np.abs(a - b).mean(axis=1), np.abs(a.mean(axis=1) - b.mean(axis=1))
    std_a, std_b = a.std(axis=1), b.std(axis=1)
    a -= a.mean(axis=1, keepdims=True)
    b -= b.mean(axis=1, keepdims=True)
    low, high = np.minimum(std_a, std_b), np.maximum(std_a, std_b)
    correlation = (a * b).mean(axis=1) / np.maximum(std_a * std_b, 1e-6)
    textured = (correlation >= MIN_CORRELATION) & (shift <= MAX_SHIFT) & (high <= MAX_CONTRAST * low)
    flat = (difference <= MAX_FLAT_DIFFERENCE) & (chroma <= MAX_FLAT_DIFFERENCE)
    return np.asarray(np.where(low < FLAT, flat, textured & (chroma <= MAX_CHROMA)))
