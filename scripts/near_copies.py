"""Which copies of photographs src.check finds, and whether it takes different ones for copies.

    python -m scripts.near_copies ROOT

Of each photograph below ROOT copies are made that are smaller, squashed, recompressed, brighter, cropped, mirrored or
turned; told is which share of them is found with the usual near_duplicate_bits.
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from src.data.checking.duplicates import Fingerprint, fingerprint, near_pairs
from src.data.decode import IMAGE_SUFFIXES

BITS = 12  # as conf/check.yaml


def recompressed(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "jpeg", quality=60)
    return Image.open(file)


def cropped(image: Image.Image, share: float) -> Image.Image:
    """Without this share of it on each side."""
    x, y = round(share * image.width), round(share * image.height)
    return image.crop((x, y, image.width - x, image.height - y))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "squashed to a square": lambda image: image.resize((256, 256)),
    "JPEG quality 60": recompressed,
    "10 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "20 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "cropped by 2 % on each side": lambda image: cropped(image, 0.02),
    "cropped by 10 % on each side": lambda image: cropped(image, 0.1),
    "mirrored": ImageOps.mirror,
    "turned by a quarter": lambda image: image.transpose(Image.Transpose.ROTATE_90),
}


def pairs_of(prints: list[Fingerprint]) -> set[tuple[int, int]]:
    bits, gray, chroma = (np.stack([getattr(one, name) for one in prints]) for name in ("bits", "gray", "chroma"))
    return {(int(low), int(high)) for low, high in near_pairs(bits, gray, chroma, BITS)}


def main() -> None:
    files = sorted(file for file in Path(sys.argv[1]).rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    images = [Image.open(file).convert("RGB") for file in files]
    prints = [fingerprint(image) for image in images]
    print(f"{len(images)} photographs, of which {len(pairs_of(prints))} pairs are taken for copies")
    for name, change in CHANGES.items():
        pairs = pairs_of(prints + [fingerprint(change(image)) for image in images])
        found = sum((n, n + len(images)) in pairs for n in range(len(images)))
        print(f"{name:30} {found / len(images):.1%}")


if __name__ == "__main__":
    main()
