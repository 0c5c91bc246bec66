"""Every kind of image becomes sensible RGB, and what cannot be read says why."""

import os
import socket
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from src.data.checking.look import look_at
from src.data.dataset import FileDataset, FileItem
from src.data.decode import UnreadableImage, read_rgb
from src.data.table import ImageTable, string_column
from src.data.targets import Classes
from src.data.transforms import evaluation_transform
from src.models.preprocessing import Preprocessing
from src.settings.project import PROJECT_ROOT

RED, BLUE = (255, 0, 0), (0, 0, 255)


def two_colors(mode: str = "RGB") -> Image.Image:
    """20 x 10, red to the left and blue to the right."""
    image = Image.new("RGB", (20, 10), RED)
    image.paste(BLUE, (10, 0, 20, 10))
    return image.convert(mode)


def near(found: Any, wanted: tuple[int, int, int], tolerance: int = 3) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_images_are_turned_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    """The eight ways in which a camera can be held; the file holds the image as the camera saw it."""
    upright = Image.new("RGB", (64, 32), "white")
    upright.paste("red", (0, 0, 32, 16))
    upright.paste("blue", (32, 16, 64, 32))
    camera_saw = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = upright.transpose(camera_saw[orientation]) if orientation > 1 else upright
    exif = stored.getexif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"x.{suffix}", exif=exif)
    found = read_rgb(tmp_path / f"x.{suffix}")
    assert found.size == (64, 32)
    assert near(found.getpixel((8, 4)), RED, 12) and near(found.getpixel((56, 28)), BLUE, 12)
    assert near(found.getpixel((8, 28)), (255, 255, 255), 12)


@pytest.mark.parametrize(
    ("mode", "suffix"), [("P", "png"), ("P", "gif"), ("RGB", "bmp"), ("CMYK", "jpg"), ("CMYK", "tif"), ("YCbCr", "jpg")]
)
def test_colors_of_every_mode(tmp_path: Path, mode: str, suffix: str) -> None:
    two_colors(mode).save(tmp_path / f"x.{suffix}")
    found = read_rgb(tmp_path / f"x.{suffix}")
    assert found.mode == "RGB" and near(found.getpixel((2, 5)), RED, 5) and near(found.getpixel((17, 5)), BLUE, 5)


def test_lab(tmp_path: Path) -> None:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(two_colors(), *profiles, outputMode="LAB")
    assert lab is not None
    lab.save(tmp_path / "x.tif")
    with Image.open(tmp_path / "x.tif") as stored:
        assert stored.mode == "LAB"
    found = read_rgb(tmp_path / "x.tif")
    assert near(found.getpixel((2, 5)), RED, 25) and near(found.getpixel((17, 5)), BLUE, 25)


@pytest.mark.parametrize(("mode", "level"), [("L", 76), ("LA", 76), ("1", 255)])
def test_grey_levels(tmp_path: Path, mode: str, level: int) -> None:
    Image.new("L", (8, 8), level).convert(mode).save(tmp_path / "x.png")
    assert read_rgb(tmp_path / "x.png").getpixel((3, 3)) == (level,) * 3


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (20, 10), (200, 0, 0, 0))
    image.paste((0, 0, 0, 255), (10, 0, 20, 10))
    if mode == "P":
        palette = Image.new("P", (20, 10), 1)
        palette.putpalette([0, 0, 0, 200, 0, 0])
        palette.paste(0, (10, 0, 20, 10))
        palette.save(tmp_path / "x.png", transparency=1)
    else:
        image.convert(mode).save(tmp_path / "x.png")
    found = read_rgb(tmp_path / "x.png")
    assert found.getpixel((2, 5)) == (255, 255, 255) and found.getpixel((17, 5)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("suffix", "dtype", "value", "level"),
    [
        ("png", np.uint16, 0x8000, 128),
        ("tif", np.uint16, 0x8000, 128),
        ("tif", ">u2", 0x8000, 128),
        ("tif", np.int32, 0x8000, 128),
        ("tif", np.int32, 200, 200),
        ("tif", np.float32, 0.5, 128),
        ("tif", np.float32, 100, 100),
    ],
)
def test_deep_images_are_scaled_and_not_clipped(
    tmp_path: Path, suffix: str, dtype: Any, value: float, level: int
) -> None:
    pixels = np.zeros((8, 8), dtype=dtype)
    pixels[:, 4:] = value
    Image.fromarray(pixels).save(tmp_path / f"x.{suffix}")
    found = read_rgb(tmp_path / f"x.{suffix}")
    assert found.getpixel((1, 1)) == (0, 0, 0) and near(found.getpixel((6, 1)), (level,) * 3, 1)


def test_floats_of_any_range(tmp_path: Path) -> None:
    pixels = np.linspace(-5, 900, 64, dtype=np.float32).reshape(8, 8)
    pixels[0, 1] = np.nan
    Image.fromarray(pixels).save(tmp_path / "x.tif")
    found = np.asarray(read_rgb(tmp_path / "x.tif"))[..., 0]
    assert found[0, 0] == 0 and found[7, 7] == 255 and 120 < found[4, 0] < 135


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "green")]
    for suffix in ("gif", "png", "webp", "tif"):
        frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:])
        assert near(read_rgb(tmp_path / f"x.{suffix}").getpixel((4, 4)), RED, 5)


def test_bombs_and_huge_images_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    Image.new("1", (2000, 1000)).save(tmp_path / "large.png")
    with pytest.raises(UnreadableImage, match=r"2000 x 1000 pixels are more than data.max_megapixels=1.5"):
        read_rgb(tmp_path / "large.png", max_megapixels=1.5)
    assert read_rgb(tmp_path / "large.png", max_megapixels=2).size == (2000, 1000)
    content = (tmp_path / "large.png").read_bytes()
    header = content[12:16] + (100_000).to_bytes(4, "big") * 2 + content[24:29]
    checksum = zlib.crc32(header).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(content[:12] + header + checksum + content[33:])
    with pytest.raises(UnreadableImage, match="exceeds limit"):
        read_rgb(tmp_path / "bomb.png")


def test_large_jpegs_are_decoded_smaller_and_stay_faithful(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    smooth = Image.fromarray(generator.integers(0, 255, (30, 40, 3), dtype=np.uint8)).resize((1600, 1200))
    smooth.save(tmp_path / "x.jpg", quality=95)
    reduced, whole = read_rgb(tmp_path / "x.jpg", needed_px=64), read_rgb(tmp_path / "x.jpg")
    assert whole.size == (1600, 1200) and reduced.size == (400, 300)
    pixels = [np.asarray(image.resize((85, 64)), dtype=float) for image in (reduced, whole)]
    assert np.abs(pixels[0] - pixels[1]).mean() < 0.5
    assert read_rgb(tmp_path / "x.jpg", needed_px=500).size == (1600, 1200)


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe0 half a jpeg", b"\x89PNG\r\n\x1a\n"])
def test_what_cannot_be_read_says_why(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(UnreadableImage) as error:
        read_rgb(tmp_path / "x.jpg")
    assert str(error.value) and str(tmp_path) not in str(error.value)


def test_damage_behind_a_good_header(tmp_path: Path) -> None:
    """Pillow's verify() does not see such damage: only decoding does."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    for suffix in ("png", "jpg", "bmp"):
        image.save(tmp_path / f"x.{suffix}")
        (tmp_path / f"x.{suffix}").write_bytes((tmp_path / f"x.{suffix}").read_bytes()[:3000])
        with pytest.raises(UnreadableImage):
            read_rgb(tmp_path / f"x.{suffix}")
    with pytest.raises(UnreadableImage, match="No such file"):
        read_rgb(tmp_path / "missing.png")
    with pytest.raises(UnreadableImage, match="Is a directory"):
        read_rgb(tmp_path)


# --------------------------------------------------------------------------------------- what must not take all memory


def test_band_by_band_is_the_same_as_the_whole(tmp_path: Path) -> None:
    """Transparent and deep images are converted some rows at a time: these are larger than that."""
    rng = np.random.default_rng(0)
    rgba_HW4 = rng.integers(0, 256, (700, 900, 4), dtype=np.uint8)
    image = Image.fromarray(rgba_HW4)
    image.save(tmp_path / "x.png")
    whole = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    assert np.array_equal(np.asarray(read_rgb(tmp_path / "x.png")), np.asarray(whole))
    gray_HW = rng.random((700, 900)).astype(np.float32)
    gray_HW[-1, -1] = 300  # the range follows from all of the image, not from a band of it
    gray_HW[0, 0] = np.nan
    Image.fromarray(gray_HW).save(tmp_path / "x.tif")
    levels_HW = np.clip(np.floor(np.nan_to_num(gray_HW.astype(np.float64)) / 300 * 255.999), 0, 255)
    assert np.array_equal(np.asarray(read_rgb(tmp_path / "x.tif"))[..., 0], levels_HW)


MEASURE = """
import io, re, sys
import numpy as np
from PIL import Image
from src.data.decode import read_rgb

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

for size in ((64, 64), (2000, 2000)):  # the first time for what is loaded once
    zeros = np.zeros(size, np.uint16)
    for kind, image, settings in (
        ("PNG", Image.new("RGB", size), {}), ("PNG", Image.new("RGBA", size), {}), ("PNG", Image.fromarray(zeros), {}),
        ("PNG", Image.new("P", size), {"transparency": 0}), ("TIFF", Image.new("F", size), {"compression": "tiff_lzw"}),
        ("WEBP", Image.new("RGBA", size), {"lossless": True}),
    ):
        file = io.BytesIO()
        image.save(file, kind, **settings)
        mode, image = image.mode, None
        open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
        before = peak()
        read_rgb(file)
        print(kind, mode, round((peak() - before) / size[0] / size[1], 1))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads the peak of the memory as Linux tells it")
def test_memory_a_pixel() -> None:
    """A few kilobytes can hold a large image of one colour: what decoding takes is bounded for all kinds."""
    environ = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed is not there for the next image
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], cwd=PROJECT_ROOT, env=environ, capture_output=True, text=True, check=True
    )
    found = [line.split() for line in done.stdout.splitlines()[-6:]]
    assert len(found) == 6 and all(3 < float(number) < 13 for _, _, number in found), found


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (3, 4_000)])
def test_lines_of_pixels_are_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    """Scaling their shorter side to what a network takes would make gigabytes of them."""
    Image.new("RGB", size).save(tmp_path / "x.png")
    with pytest.raises(UnreadableImage, match="one side is more than 1000 times the other"):
        read_rgb(tmp_path / "x.png")


def test_what_is_too_long_once_it_is_scaled() -> None:
    """Images of sets in memory, and sizes for which the usual limit is too high."""
    with pytest.raises(UnreadableImage, match="too long and thin to be scaled"):
        evaluation_transform(Preprocessing(1024, 1024, "bilinear", (0, 0, 0), (1, 1, 1)))(Image.new("RGB", (2, 900)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_image_without_one_finite_value(tmp_path: Path, value: float) -> None:
    Image.fromarray(np.full((8, 8), value, np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(UnreadableImage, match="not one of its values is a finite number"):
        read_rgb(tmp_path / "x.tif")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_sockets_and_devices_are_no_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a pipe that nobody writes to waits for good."""
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    os.mkfifo("pipe.png")
    Path("link.png").symlink_to("pipe.png")
    Path("device.png").symlink_to("/dev/zero")
    Path("empty.png").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.png")
    kinds = {"pipe": "a named pipe", "link": "a named pipe", "device": "a device", "socket": "a socket"}
    names = [f"{kind}.png" for kind in kinds]
    transform = evaluation_transform(Preprocessing(8, 8, "bilinear", (0, 0, 0), (1, 1, 1)))
    table = ImageTable(
        string_column([*names, "empty.png"]), Classes(np.zeros(5, dtype=np.int64), ["a"]), {}, root=tmp_path
    )
    for row, (name, kind) in enumerate(zip(names, kinds.values(), strict=True)):
        reason = f"Is {kind} and not a file"
        assert FileDataset(tmp_path, [name], transform)[0] == FileItem(name, error=reason)
        assert (look_at(table, row).problem, look_at(table, row).reason) == ("unreadable", reason)
    assert look_at(table, 4).problem == "empty"
