"""The part of the check's page that is about boxes: how many, how large, and images with their boxes drawn."""

from collections.abc import Sequence
from html import escape
from itertools import islice

import numpy as np
from PIL import Image

from src.data.boxes import Boxes
from src.data.checking.box_lines import BoxCounts
from src.data.checking.boxes import SMALL_PX
from src.data.decode import UnreadableImage
from src.data.instances import Instances
from src.data.table import ImageTable
from src.reports.drawn_boxes import color_of, draw_boxes
from src.reports.histograms import draw_counts, draw_sizes
from src.reports.painted_objects import painted
from src.reports.parts import chart, encoded, html_table, section

SIDE_PX = 480  # longer side of a drawing
TEXTS = 12  # boxes up to which each has its class written on it
SAMPLES = 12  # images that show classes
MOST_CLASSES = 100  # in the table
GREY = "#9e9e9e"


def boxes_sections(table: ImageTable, counts: BoxCounts) -> list[str]:
    """Empty without boxes."""
    if not len(counts.class_M):
        return []
    columns = ["class", "boxes", "images", "crowd or difficult", "shorter side", "longer side", "small"]
    rows = list(islice(counts.class_rows(), MOST_CLASSES))
    where = f"pixels of the network, whose images have {counts.size_px} on their longer side at most"
    sizes = draw_sizes(counts.shorter_M, [SMALL_PX], "boxes", f"shorter side in {where}")
    per_image = draw_counts(counts.count_N, "images", "boxes in an image")
    note = (
        f"Median sides in {where}: data.image_size_px decides. Small: the shorter side has less than {SMALL_PX:g}. "
        "Crowds and difficult objects are counted apart."
    )
    if rarer := len(counts.names) - len(rows):
        note += f" {rarer:,} rarer classes are left out here."
    charts = chart(sizes, "Boxes by size"), chart(per_image, "Boxes in an image")
    return [
        section("Boxes", f"<p>{note}</p>", html_table(columns, rows), *charts),
        section("Images with their boxes", samples(table, counts)),
    ]


def samples(table: ImageTable, counts: BoxCounts) -> str:
    """A card for each image that `chosen` takes."""
    cards = [
        f'<li class="card">{drawn_figure(table, row, boxes=boxes)}<p class="detail">{escape("; ".join(why))}</p></li>'
        for row, (why, boxes) in chosen(counts).items()
    ]
    return f'<ul class="cards drawn">{"".join(cards)}</ul>'


def chosen(counts: BoxCounts) -> dict[int, tuple[list[str], list[int]]]:
    """Rows of the table, each with why, and the boxes that it is there for: images that together show as many classes
    as can be, the rarest first; the smallest box, the largest one; the fullest image.
    """
    why: dict[int, tuple[list[str], list[int]]] = {}

    def take(position: int, reason: str, boxes: list[int]) -> None:
        reasons, _ = why.setdefault(int(counts.rows_N[position]), ([], boxes))
        reasons.append(reason)

    boxes_K = counts.of_class
    missing, classes = boxes_K > 0, len(boxes_K)
    images, shows = np.divmod(np.unique(counts.image_M * classes + counts.class_M), classes)  # each pair once
    while missing.any() and len(why) < SAMPLES:
        rarest = int(np.where(missing, boxes_K, boxes_K.max() + 1).argmin())
        candidates = images[shows == rarest]
        best = candidates[np.bincount(images, missing[shows])[candidates].argmax()]
        shown = np.intersect1d(shows[images == best], np.flatnonzero(missing))
        missing[shown] = False
        take(int(best), "shows " + ", ".join(counts.names[k] for k in shown.tolist()), [])
    for m, what in ((counts.shorter_M.argmin(), "smallest"), (counts.longer_M.argmax(), "largest")):
        sides = f"{counts.shorter_M[m]:.3g} x {counts.longer_M[m]:.3g} pixels of the network"
        take(int(counts.image_M[m]), f"the {what} box, {sides}", [int(counts.place_M[m])])
    fullest = int(counts.count_N.argmax())
    take(fullest, f"the most boxes, {counts.count_N[fullest]:,}", [])
    return why


def drawn_figure(table: ImageTable, row: int, split: str = "", boxes: Sequence[int] = ()) -> str:
    """An image with its boxes; with `boxes` (places in the arrays) in colour, the others are grey."""
    targets = table.targets
    assert isinstance(targets, Boxes)
    where = escape(str(table.paths[row])) + (f'<br><span class="where">{escape(split)}</span>' if split else "")
    caption = f"<figcaption>{legend(targets, row)}<br>{where}</figcaption>"
    return f"<figure>{drawn_image(table, targets, row, boxes)}{caption}</figure>"


def drawn_image(table: ImageTable, targets: Boxes, row: int, boxes: Sequence[int]) -> str:
    """An <img> that carries its pixels; empty if the image cannot be read."""
    try:
        image = table.read(row, SIDE_PX)
    except UnreadableImage:
        return ""
    factor = SIDE_PX / max(image.size)
    image = image.resize([max(1, round(side * factor)) for side in image.size], Image.Resampling.BICUBIC)
    of_image = range(targets.of(row).start, targets.of(row).stop)
    order = [place for place in of_image if place not in boxes] + list(boxes)  # those in colour come last
    width, height = targets.size(row)
    scale = np.array([image.width / width, image.height / height] * 2, dtype=np.float32)
    meant = boxes or (order if len(order) <= TEXTS else [])
    names = [(place, int(targets.class_ids[place])) for place in order]
    texts = [targets.names[k] if place in meant else "" for place, k in names]
    colors = [color_of(k) if place in boxes or not boxes else GREY for place, k in names]
    crops = targets.crops(row, image.size) if isinstance(targets, Instances) else []
    of_class = [color_of(k) for k in targets.class_ids[targets.of(row)].tolist()]
    drawn = painted(image, crops, of_class) if crops else image
    drawn = draw_boxes(drawn, targets.boxes_xyxy[order] * scale, texts, colors)
    return f'<img alt="" src="{encoded(drawn, "JPEG")}">'


def legend(targets: Boxes, row: int) -> str:
    """The classes of an image's boxes in their colours, each with its number."""
    ids, numbers = np.unique(targets.class_ids[targets.of(row)], return_counts=True)
    return (
        " ".join(
            f'<span class="key"><i style="background:{color_of(k)}"></i>{escape(targets.names[k])} {number}</span>'
            for k, number in zip(ids.tolist(), numbers.tolist(), strict=True)
        )
        or "no boxes"
    )
