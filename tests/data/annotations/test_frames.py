"""Boxes and images stay together when EXIF turns the image, and when it has another size than the annotations say."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from src.data.annotations.frames import Frames, find_frames, turned
from src.data.annotations.headers import Headers, header_of, read_headers
from src.data.decode import UnreadableImage, read_rgb
from src.data.table import string_column

ORIENTATION = 0x0112


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[ORIENTATION] = orientation
    return found


def frames(
    stored: list[tuple[int, int]], orientation: list[int], stated: list[tuple[int, int]], reach: float = 0.0
) -> Frames:
    headers = Headers(np.array(stored), np.array(orientation, dtype=np.int8), {})
    return find_frames(headers, np.array(stated), np.full((len(stored), 2), reach), relative=False)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_painted_square_and_its_box_turn_together(orientation: int) -> None:
    pixels = np.zeros((30, 40), dtype=np.uint8)
    pixels[5:12, 8:20] = 255
    image = Image.fromarray(pixels)
    image.getexif()[ORIENTATION] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    box = np.array([[8.0, 5, 20, 12]])
    x1, y1, x2, y2 = turned(box, np.array([[40, 30]]), np.array([orientation], dtype=np.int8))[0].astype(int)
    assert upright[y1:y2, x1:x2].min() == 255 and upright.sum() == 255 * (x2 - x1) * (y2 - y1)


def test_the_stated_size_tells_whether_boxes_turn() -> None:
    found = frames([(40, 30)] * 4, [6, 6, 6, 1], [(40, 30), (30, 40), (0, 0), (40, 30)])
    assert found.turn.tolist() == [6, 1, 1, 1]
    assert found.upright_wh.tolist() == [[30, 40]] * 3 + [[40, 30]]
    assert found.frame_wh.tolist() == [[40, 30], [30, 40], [30, 40], [40, 30]]
    assert found.notes[0].startswith("EXIF turns 1 image, and the stated size is that of the file")
    assert len(found.notes) == 3


def test_where_the_size_does_not_tell_the_others_do() -> None:
    """Square, upside down or unstated: upright, unless all others were drawn on the stored image."""
    square = frames([(30, 30), (40, 30)], [6, 3], [(30, 30), (40, 30)])
    assert square.turn.tolist() == [1, 1] and "boxes stay" in square.notes[0]
    with_others = frames([(30, 30), (40, 30), (40, 30)], [6, 3, 8], [(30, 30), (40, 30), (40, 30)])
    assert with_others.turn.tolist() == [6, 3, 8]


def test_boxes_of_a_resized_image_are_scaled() -> None:
    found = frames([(40, 30), (40, 30), (41, 30)], [1, 6, 1], [(400, 300), (400, 300), (90, 30)], reach=350)
    assert found.frame_wh.tolist() == [[400, 300], [400, 300], [41, 30]]
    assert found.turn.tolist() == [1, 6, 1] and found.drawn_wh.tolist() == [[40, 30], [40, 30], [41, 30]]
    assert any("2 images have another size" in note and "scaled" in note for note in found.notes)
    assert any("1 image has another size" in note and "in other proportions" in note for note in found.notes)


def test_a_stated_size_is_not_believed_against_the_boxes() -> None:
    found = frames([(400, 300)], [1], [(40, 30)], reach=250)
    assert found.frame_wh.tolist() == [[400, 300]] and "not believed" in found.notes[0]


def test_headers_of_what_lies_there(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 30))
    image.save(tmp_path / "a.jpg", exif=exif(6))
    image.save(tmp_path / "b.png", exif=exif(8))
    image.save(tmp_path / "c.bmp")
    (tmp_path / "d.jpg").write_bytes(b"no image")
    (tmp_path / "e.jpg").write_bytes(b"")
    found = read_headers(tmp_path, string_column(["a.jpg", "b.png", "c.bmp", "d.jpg", "e.jpg", "none.jpg"]), 180)
    assert found.stored_wh.tolist() == [[40, 30]] * 3 + [[0, 0]] * 3
    assert found.orientation.tolist() == [6, 8, 1, 1, 1, 1] and list(found.problems) == [3, 4, 5]
    with pytest.raises(UnreadableImage, match="max_megapixels"):
        header_of(tmp_path / "a.jpg", 0.001)


def test_a_png_that_says_behind_its_pixels_how_it_is_turned(tmp_path: Path) -> None:
    buffer = BytesIO()
    Image.effect_noise((200, 100), 50).save(buffer, "png")
    late = BytesIO()
    PngImagePlugin.putchunk(late, b"eXIf", exif(6).tobytes()[6:])
    end = buffer.getvalue()[-12:]
    (tmp_path / "a.png").write_bytes(buffer.getvalue()[:-12] + late.getvalue() + end)
    assert read_rgb(tmp_path / "a.png").size == (100, 200)
    assert header_of(tmp_path / "a.png", 180) == ((200, 100), 6)
