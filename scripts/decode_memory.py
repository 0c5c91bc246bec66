"""What decoding takes: MB of memory per megapixel for each kind of file, in a process each (Linux).

MALLOC_MMAP_THRESHOLD_=65536 python -m scripts.decode_memory [side in pixels, default 5000]
"""

import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from src.data.decode import read_rgb

Size = tuple[int, int]


def blotches(mode: str, size: Size) -> Image.Image:
    """An image of smooth random colours: what is of one colour some encoders leave out."""
    small = np.random.default_rng(0).integers(0, 256, (40, 40, len(mode)), dtype=np.uint8)
    return Image.fromarray(small, mode).resize(size)


def plain(mode: str) -> Callable[[Size], Image.Image]:
    return lambda size: Image.new(mode, size)


TURNED = Image.Exif()
TURNED[0x0112] = 6
KINDS: dict[str, tuple[str, Callable[[Size], Image.Image], dict[str, Any]]] = {
    "JPEG": ("JPEG", lambda size: blotches("RGB", size), {}),
    "JPEG, progressive": ("JPEG", lambda size: blotches("RGB", size), {"progressive": True, "subsampling": 0}),
    "JPEG, progressive CMYK": ("JPEG", lambda size: blotches("CMYK", size), {"progressive": True}),
    "PNG": ("PNG", plain("RGB"), {}),
    "PNG, turned by EXIF": ("PNG", plain("RGB"), {"exif": TURNED}),
    "PNG with alpha": ("PNG", plain("RGBA"), {}),
    "PNG, palette with alpha": ("PNG", plain("P"), {"transparency": 0}),
    "PNG, 16 bits": ("PNG", lambda size: Image.fromarray(np.zeros(size, np.uint16)), {}),
    "WebP": ("WEBP", lambda size: blotches("RGB", size), {}),
    "WebP with alpha, lossless": ("WEBP", plain("RGBA"), {"lossless": True}),
    "TIFF, CMYK": ("TIFF", plain("CMYK"), {"compression": "tiff_lzw"}),
    "TIFF, floats": ("TIFF", plain("F"), {"compression": "tiff_lzw"}),
    "TIFF, LAB": ("TIFF", plain("LAB"), {"compression": "tiff_lzw"}),
    "GIF": ("GIF", plain("P"), {"transparency": 0}),
    "BMP": ("BMP", plain("RGB"), {}),
    "AVIF": ("AVIF", lambda size: blotches("RGB", size), {"subsampling": "4:4:4", "speed": 10}),
    "AVIF with alpha": ("AVIF", lambda size: blotches("RGBA", size), {"subsampling": "4:4:4", "speed": 10}),
    "JPEG 2000": ("JPEG2000", plain("RGB"), {}),
    "JPEG 2000 with alpha": ("JPEG2000", plain("RGBA"), {}),
}


def measure(name: str, side_px: int) -> None:
    kind, make, settings = KINDS[name]
    file = io.BytesIO()
    for side in (64, side_px):  # the small one for what is loaded once
        file = io.BytesIO()
        make((side, side)).save(file, kind, **settings)
        if side == 64:
            read_rgb(file)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak_bytes()
    read_rgb(file)
    used = (peak_bytes() - before) / side_px**2
    print(f"{name:28s} {len(file.getvalue()) / 1000:8.0f} kB  {used:5.1f} MB per megapixel", flush=True)


def peak_bytes() -> int:
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def main() -> None:
    side_px = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    for name in KINDS:
        if not (child := os.fork()):
            measure(name, side_px)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    print(__doc__) if "--help" in sys.argv else main()
