"""The part of the check's page that is about masks: pixels of each class, and images with their masks over them."""

from collections.abc import Sequence
from html import escape
from itertools import islice

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.data.checking.masks import PixelCounts
from src.data.decode import UnreadableImage
from src.data.masks import Mask, Masks, percent
from src.data.table import ImageTable
from src.evaluation.pixels.confusion import VOID
from src.reports.drawn_masks import draw_mask, html_legend
from src.reports.parts import encoded, html_table, section

SIDE_PX = 480  # longer side of a drawing
SAMPLES = 12  # images that show classes
MOST_CLASSES = 255  # in the table


def mask_sections(table: ImageTable, counts: PixelCounts) -> list[str]:
    """Empty without pixels of a class."""
    targets = table.targets
    assert isinstance(targets, Masks)
    if not counts.pixels_NK.any():
        return []
    columns = ["class", "of all pixels", "images", "of their pixels (median)"]
    rows = list(islice(counts.class_rows(), MOST_CLASSES))
    void = percent(counts.void_N.sum() / counts.every)
    note = f"<p>{void} of all pixels are void: nobody trains on them, and they are not measured.</p>"
    chosen = covering(counts.pixels_NK)
    cards = [
        f'<li class="card">{mask_figure(table, targets, int(counts.rows_N[n]))}<p class="detail">shows '
        f"{escape(', '.join(counts.names[k] for k in classes))}</p></li>"
        for n, classes in chosen.items()
    ]
    return [
        section("Images with their masks", f'<ul class="cards drawn">{"".join(cards)}</ul>'),
        section("Pixels", note, html_table(columns, rows)),
    ]


def covering(pixels_NK: npt.NDArray[np.int64]) -> dict[int, list[int]]:
    """Images that together show as many classes as can be, the rarest first; each with what it adds."""
    missing_K = pixels_NK.any(axis=0)
    chosen: dict[int, list[int]] = {}
    pixels_K = pixels_NK.sum(axis=0)
    while missing_K.any() and len(chosen) < SAMPLES:
        rarest = int(np.where(missing_K, pixels_K, pixels_K.max() + 1).argmin())
        candidates = np.flatnonzero(pixels_NK[:, rarest])
        best = int(candidates[(pixels_NK[candidates] > 0)[:, missing_K].sum(axis=1).argmax()])
        shown_K = (pixels_NK[best] > 0) & missing_K
        missing_K &= ~shown_K
        chosen[best] = np.flatnonzero(shown_K).tolist()
    for n in range(len(pixels_NK)):
        if len(chosen) >= min(SAMPLES, len(pixels_NK)):
            break
        chosen.setdefault(n, np.flatnonzero(pixels_NK[n]).tolist())
    return chosen


def mask_figure(table: ImageTable, targets: Masks, row: int, split: str = "") -> str:
    """An image with its mask over it, and the classes in their colours with their shares."""
    where = escape(str(table.paths[row])) + (f'<br><span class="where">{escape(split)}</span>' if split else "")
    try:
        image, mask_HW = table.read(row, SIDE_PX), targets.mask(row)
    except UnreadableImage as error:
        return f"<figure><figcaption>{escape(str(error))}<br>{where}</figcaption></figure>"
    factor = SIDE_PX / max(image.size)
    size_wh = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    small_HW = np.asarray(Image.fromarray(mask_HW).resize(size_wh, Image.Resampling.NEAREST))
    drawn = draw_mask(image.resize(size_wh, Image.Resampling.BICUBIC), small_HW)
    caption = f"<figcaption>{html_legend(shown_classes(targets.names, mask_HW))}{where}</figcaption>"
    return f'<figure><img alt="" src="{encoded(drawn, "JPEG")}">{caption}</figure>'


def shown_classes(class_names: Sequence[str], mask_HW: Mask) -> list[tuple[int, str]]:
    """Ids and names with their shares, the largest first; of VOID too, and of a single pixel, which has its colour."""
    ids, counts = np.unique(mask_HW, return_counts=True)
    shares = sorted(zip((counts / mask_HW.size).tolist(), ids.tolist(), strict=True), reverse=True)
    return [(k, f"{'void' if k == VOID else class_names[k]} {percent(share)}") for share, k in shares]
