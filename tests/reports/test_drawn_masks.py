"""Classes of pixels in colours."""

import numpy as np
from PIL import Image

from src.reports.drawn_masks import (
    UNKNOWN,
    WRONG,
    color_of_class,
    draw_column,
    draw_mask,
    draw_mistakes,
    html_legend,
    palette_image,
    with_legend,
)

MASK = np.array([[0, 0, 1, 1], [0, 0, 1, 255]], dtype=np.uint8)
GREY = Image.new("RGB", (4, 2), (100, 100, 100))


def test_the_palette_is_that_of_pascal_voc() -> None:
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    assert {k: color_of_class(k) for k in known} == known
    assert len({color_of_class(k) for k in range(256)}) == 256


def test_the_number_of_a_pixel_is_its_class() -> None:
    image = palette_image(MASK)
    assert image.mode == "P" and (np.asarray(image) == MASK).all()
    assert image.convert("RGB").getpixel((2, 0)) == (128, 0, 0)


def test_a_mask_over_an_image() -> None:
    drawn = np.asarray(draw_mask(GREY, MASK), dtype=int)
    assert (drawn[0, 0] == 65).all()  # class 0: darker, and still to be seen
    assert tuple(drawn[0, 2]) == (115, 45, 45)
    assert tuple(drawn[0, 3]) == tuple(drawn[1, 2]) == (128, 0, 0)  # where another class begins
    assert (np.asarray(GREY) == 100).all()


def test_mistakes_and_void() -> None:
    found = MASK.copy()
    found[0, 0], found[1, 3] = 1, 1
    drawn = draw_mistakes(GREY, MASK, found)
    assert drawn.getpixel((0, 0)) == WRONG and drawn.getpixel((3, 1)) == UNKNOWN
    assert drawn.getpixel((1, 0)) == drawn.getpixel((2, 1)) == (162, 162, 162)


def test_legend_and_column_keep_the_images() -> None:
    image = Image.new("RGB", (300, 50), (1, 2, 3))
    legend = with_legend(image, [(1, "road"), (2, "a very long name that cannot be shown"), (0, "car")])
    assert legend.width == 300 and legend.height > 50 and legend.getpixel((299, 49)) == (1, 2, 3)
    assert (128, 0, 0) in {legend.getpixel((x, y)) for x in range(300) for y in range(50, legend.height)}
    below = draw_column([image, image], ["one", "two"])
    assert below.width == 300 and below.height > 100 and draw_column([], []).size == (1, 1)


def test_a_legend_says_how_many_classes_it_leaves_out() -> None:
    names = [(k, f"class {k}") for k in range(30)]
    image = Image.new("RGB", (100, 50))  # one class a line
    all_of_24, of_30 = with_legend(image, names[:24]), with_legend(image, names)
    line = (all_of_24.height - 50) // 24
    assert of_30.height == all_of_24.height + line
    last_line = of_30.crop((0, of_30.height - line, 100, of_30.height))
    assert 0 < (np.asarray(last_line.convert("L")) < 128).sum() < 300  # letters, and no box of a colour
    assert html_legend(names).count("<i ") == 24 and html_legend(names).endswith(" and 6 more</p>")
    assert "more" not in html_legend(names[:24])
