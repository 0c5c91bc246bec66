"""A confusion matrix as an image, and as a table of a page."""

from html import escape

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from src.evaluation.confusion import ConfusionCounts, Ints
from src.reports.drawing import DARK_BLUE, GREY, INK, font, paste_turned, shortened

TABLE_CLASSES = 30  # up to which it is a table


def draw_confusions(confusions: ConfusionCounts, class_names: list[str], percent: bool = False) -> Image.Image:
    """`draw_confusion_matrix`, in which neighbouring classes share a row and a column if there are very many."""
    classes = len(class_names)
    together = -(-classes // MOST_ROWS)
    shown = confusions.renumbered(np.arange(classes) // together, -(-classes // together))
    right = int(confusions.right_counts.sum())
    return draw_confusion_matrix(shown.matrix(), class_names[::together], right, percent)


MOST_ROWS = 1000


def draw_confusion_matrix(
    matrix_KK: npt.NDArray[np.int64], class_names: list[str], right: int, percent: bool = False
) -> Image.Image:
    """Rows: true class, columns: predicted class. Colour: share of the row; numbers (up to 30 classes): what is
    counted, or with `percent` that share.
    """
    classes = len(class_names)
    cell = max(46, 260 // classes) if classes <= 30 else max(900 // classes, 4)
    names = [shortened(name, 20) for name in class_names] if classes <= 60 else [""] * classes
    text_px = 17 if classes <= 30 else min(cell, 13)
    margin = 46 + round(max(font(text_px).getlength(name) for name in names))
    side = cell * classes
    canvas = Image.new("RGB", (margin + side + 24, 44 + side + margin), "white")
    draw = ImageDraw.Draw(canvas)
    total = int(matrix_KK.sum())
    title = f"{right:,} of {total:,} right ({right / max(total, 1):.1%})"
    draw.text((margin + side / 2, 22), title, INK, font(19), anchor="mm")

    share_KK = matrix_KK / np.maximum(matrix_KK.sum(axis=1, keepdims=True), 1)
    pixels_KK3 = (255 + (DARK_BLUE - 255) * share_KK[..., None]).astype(np.uint8)
    cells = Image.fromarray(pixels_KK3).resize((side, side), Image.Resampling.NEAREST)
    canvas.paste(cells, (margin, 44))
    draw.rectangle((margin, 44, margin + side, 44 + side), outline=GREY)
    if classes <= 30:
        for row, column in zip(*np.nonzero(matrix_KK), strict=True):
            color = "white" if share_KK[row, column] > 0.5 else INK
            middle = (margin + (column + 0.5) * cell, 44 + (row + 0.5) * cell)
            text = percent_text(share_KK[row, column]) if percent else str(matrix_KK[row, column])
            draw.text(middle, text, color, font(15), anchor="mm")

    for index, name in enumerate(names):
        middle_px = (index + 0.5) * cell
        draw.text((margin - 8, 44 + middle_px), name, INK, font(text_px), anchor="rm")
        upright = len(max(names, key=len)) <= 3
        at = (margin + middle_px, 44 + side + 8)
        if upright:
            draw.text(at, name, INK, font(text_px), anchor="mt")
        else:
            paste_turned(canvas, name, font(text_px), at)
    draw.text((margin + side / 2, canvas.height - 14), "predicted", GREY, font(16), anchor="mm")
    paste_turned(canvas, "true", font(16), (14, 44 + side / 2 - 18), color=GREY)
    return canvas


def percent_text(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.01 else "<1"


def confusion_table(matrix_KK: Ints, names: list[str], percent: bool = False) -> str:
    """Rows: true class, columns: predicted class; HTML. `percent`: shares of the row instead of counts."""
    head = "".join(f'<th title="{escape(name)}">{escape(name)}</th>' for name in names)
    lines = []
    for k, name in enumerate(names):
        total = max(int(matrix_KK[k].sum()), 1)
        cells = []
        for j, count in enumerate(matrix_KK[k].tolist()):
            color = "46, 125, 50" if j == k else "198, 40, 40"
            strength = 0.12 + 0.6 * count / total if count else 0.0
            text = escape(percent_text(count / total)) if percent and count else count or ""
            cells.append(f'<td style="background: rgba({color}, {strength:.2f})">{text}</td>')
        lines.append(f'<tr><th class="text" title="{escape(name)}">{escape(name)}</th>{"".join(cells)}</tr>')
    return f'<div class="scroll"><table class="matrix"><tr><th></th>{head}</tr>{"".join(lines)}</table></div>'
