"""Drawn boxes: told apart without colours, in their places at any scale."""

import numpy as np
import pytest
from PIL import Image

from src.reports.drawn_boxes import draw_boxes
from src.reports.judged_boxes import STYLES, JudgedBoxes, draw_grid, draw_judged, draw_legend

BOX = np.array([[20, 20, 60, 60]], dtype=np.float32)


def drawn(kind: str, scale: float = 1.0, side_px: int = 100) -> np.ndarray:
    """Where something was drawn, bool [H, W]."""
    grey = Image.new("RGB", (100, 100), (128, 128, 128))
    image = draw_judged(grey, JudgedBoxes(BOX, [kind], [""]), scale, side_px)
    return (np.asarray(image) != 128).any(axis=2)


def test_every_kind_has_lines_of_its_own() -> None:
    right, wrong, missed = (drawn(kind) for kind in ("right", "wrong", "missed"))
    assert right[40, 20] and wrong[40, 20] and not missed[40, 20]  # the middle of the left side
    assert missed[22, 20] and right[22, 20]  # near its end
    assert wrong[40, 16] and not right[40, 16]  # the second line, outside
    assert not right[40, 40] and not wrong[40, 40]  # what is in the box stays visible
    assert np.array_equal(drawn("true"), missed) and STYLES["true"].color != STYLES["missed"].color


def test_boxes_keep_their_places_where_the_image_is_scaled() -> None:
    rows, columns = np.nonzero(drawn("right", scale=0.5, side_px=400))
    assert abs(columns.min() - 20 * 0.5 * 4) <= 2 and abs(rows.max() - 60 * 0.5 * 4) <= 2


@pytest.mark.parametrize("box", [(0, 0, 30, 30), (90, 70, 100, 100), (0, 70, 10, 100)])
@pytest.mark.parametrize("dashed", [False, True])
def test_texts_stay_in_the_image(box: tuple[int, ...], dashed: bool) -> None:
    """Above a box or, of missed ones, below it; within it at the edges."""
    image = Image.new("RGB", (100, 100), (128, 128, 128))
    boxes_14 = np.array([box], dtype=np.float32)
    texts = [np.asarray(draw_boxes(image, boxes_14, [text], ["#ff0000"], dashed=dashed)) for text in ("", "dog")]
    changed = np.argwhere((texts[0] != texts[1]).any(axis=2))
    assert np.ptp(changed[:, 0]) >= 8 and np.ptp(changed[:, 1]) >= 16  # the whole text


def test_the_legend_names_all_kinds_and_a_grid_takes_any_shape() -> None:
    assert draw_legend().height == 84 * len(STYLES)
    grid = draw_grid([Image.new("RGB", (320, 100)), Image.new("RGB", (100, 320))], ["a", "b" * 200], 320, 4)
    assert grid.size == (2 * 328 + 8, 352 + 8)
    assert draw_grid([], [], 320, 4).width > 0
