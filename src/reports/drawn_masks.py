"""Classes of pixels in colours, the same everywhere: as PNG with a palette, over an image, and beside one.

Shapes: H and W pixels of an image; masks are uint8 [H, W], class ids and VOID.
"""

from collections.abc import Sequence
from functools import cache
from html import escape

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from src.data.masks import Mask
from src.evaluation.pixels.confusion import VOID
from src.reports.drawing import INK, fitted, font

COLOR_SHARE, BLACK_SHARE = 0.55, 0.35  # of a mask over an image; of class 0, which would hide it
MOST_IN_LEGEND = 24  # classes
WRONG, UNKNOWN = (213, 94, 0), (86, 180, 233)  # told apart by people who see no red or no green, too


@cache
def palette() -> npt.NDArray[np.uint8]:
    """RGB [256, 3] of Pascal VOC, in which bits of the id are spread over the colours: 0 is black, 255 is light."""
    ids = np.arange(256)
    colors = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= (((ids >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colors


def color_of_class(class_id: int) -> tuple[int, int, int]:
    red, green, blue = palette()[class_id].tolist()
    return red, green, blue


def palette_image(mask_HW: Mask) -> Image.Image:
    """Mode P: the pixel's number is the class id."""
    image = Image.fromarray(mask_HW).convert("L")
    image.putpalette(palette().tobytes())
    return image


def draw_mask(image: Image.Image, mask_HW: Mask) -> Image.Image:
    """A copy of the image with its mask, of its size, over it; a class's edge has its colour alone."""
    colors = Image.fromarray(palette()[mask_HW])
    shares_HW = np.where(mask_HW == 0, BLACK_SHARE, COLOR_SHARE)
    shares_HW[edges_of(mask_HW) & (mask_HW != 0)] = 1
    return Image.composite(colors, image.convert("RGB"), Image.fromarray((shares_HW * 255).astype(np.uint8)))


def edges_of(mask_HW: Mask) -> npt.NDArray[np.bool_]:
    """Pixels whose neighbour to the right or below is of another class."""
    edges_HW = np.zeros(mask_HW.shape, dtype=np.bool_)
    edges_HW[:, :-1] |= mask_HW[:, 1:] != mask_HW[:, :-1]
    edges_HW[:-1] |= mask_HW[1:] != mask_HW[:-1]
    return edges_HW


def draw_mistakes(image: Image.Image, truth_HW: Mask, found_HW: Mask) -> Image.Image:
    """The image in grey, with wrong pixels orange and void ones blue."""
    drawn = Image.blend(image.convert("L").convert("RGB"), Image.new("RGB", image.size, "white"), 0.4)
    void_HW = truth_HW == VOID
    drawn.paste(UNKNOWN, mask=Image.fromarray(void_HW))
    drawn.paste(WRONG, mask=Image.fromarray((truth_HW != found_HW) & ~void_HW))
    return drawn


def with_legend(image: Image.Image, names: Sequence[tuple[int, str]]) -> Image.Image:
    """The image above a line or more with the first of these classes, (id, name), and their colours."""
    line = max(24, image.width // 30)
    gap, swatch, letters = line // 5, line * 3 // 5, font(line * 5 // 8)
    shown, more = names[:MOST_IN_LEGEND], len(names[MOST_IN_LEGEND:])
    cells = [*shown, *([(None, f"and {more} more")] if more else [])]
    columns = max(1, image.width // (7 * line))
    width = max(image.width // columns, 3 * line)
    canvas = Image.new("RGB", (image.width, image.height + line * -(-len(cells) // columns)), "white")
    canvas.paste(image)
    draw = ImageDraw.Draw(canvas)
    for index, (class_id, name) in enumerate(cells):
        left, top = index % columns * width + gap, image.height + index // columns * line + gap
        if class_id is not None:
            draw.rectangle((left, top, left + swatch, top + swatch), fill=color_of_class(class_id), outline=INK)
        place = (left + swatch + gap, top + swatch / 2)
        draw.text(place, fitted(name, width - swatch - 3 * gap, letters), INK, letters, anchor="lm")
    return canvas


def draw_column(images: Sequence[Image.Image], texts: Sequence[str]) -> Image.Image:
    """Images one below the other, each under its text."""
    line, gap = 24, 8
    width = max((image.width for image in images), default=1)
    canvas = Image.new("RGB", (width, sum(image.height + line + gap for image in images) or 1), "white")
    draw, top = ImageDraw.Draw(canvas), 0
    for image, text in zip(images, texts, strict=True):
        draw.text((2, top + line / 2), fitted(text, width, font(15)), INK, font(15), anchor="lm")
        canvas.paste(image, (0, top + line))
        top += image.height + line + gap
    return canvas


def html_legend(names: Sequence[tuple[int, str]]) -> str:
    keys = (
        f'<span class="key"><i style="background: rgb{color_of_class(class_id)}"></i>{escape(name)}</span>'
        for class_id, name in names[:MOST_IN_LEGEND]
    )
    more = len(names[MOST_IN_LEGEND:])
    return f"<p>{' '.join(keys)}{f' and {more} more' if more else ''}</p>"
