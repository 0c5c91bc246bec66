"""What the pages share: one file each, which loads nothing from anywhere and opens from disk."""

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from src.data.decode import UnreadableImage
from src.data.table import ImageTable
from src.files.outputs import GENERATOR
from src.files.whole_files import replaced

SIDE_PX = 160  # longer side of a thumbnail
STYLE, SORTING = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("pages.css", "sorting.js"))


def write_document(path: Path, title: str, parts: Sequence[str], script: str = "", images: str = "data:") -> None:
    """A whole page. Scripts other than this one do not run, whatever the data hold; images come from `images` alone."""
    allowed = ""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        allowed = f" script-src 'sha256-{digest}';"
    policy = f"default-src 'none'; img-src {images}; style-src 'unsafe-inline';{allowed}"
    page = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{GENERATOR}',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        *(part for part in parts if part),
        f"<script>{script}</script>" if script else "",
        "</body></html>\n",
    ]
    with replaced(path) as part:
        part.write_text("\n".join(page), encoding="utf-8", errors="backslashreplace")


def encoded(image: Image.Image, kind: str) -> str:
    """A data: address."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 80} if kind == "JPEG" else {"compress_level": 8}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def chart(image: Image.Image, alt: str) -> str:
    """An image from src/reports/charts.py, at half its pixels; sixteen times fewer colours are enough for it."""
    data = encoded(in_commonest_colors(image), "PNG")
    size = f'width="{image.width // 2}" height="{image.height // 2}"'
    return f'<div class="scroll"><img class="chart" {size} alt="{escape(alt)}" src="{data}"></div>'


def in_commonest_colors(image: Image.Image, number: int = 64) -> Image.Image:
    """Any other colour becomes the nearest of them. Pillow's median cut takes five times as long for a chart."""
    counted: Any = image.getcolors(image.width * image.height)
    colors_N3 = np.array([color for _, color in sorted(counted, reverse=True)], dtype=np.int64)
    palette_K3 = colors_N3[:number]
    nearest_N = [int(((palette_K3 - color_3) ** 2).sum(axis=1).argmin()) for color_3 in colors_N3]
    index_of = np.zeros(1 << 24, dtype=np.uint8)  # by the three bytes of a colour
    index_of[colors_N3 @ (1, 1 << 8, 1 << 16)] = nearest_N
    packed_HW = np.frombuffer(image.convert("RGBX").tobytes(), dtype="<u4") & 0xFFFFFF
    found = Image.fromarray(index_of[packed_HW].reshape(image.height, image.width))
    found.putpalette(palette_K3.astype(np.uint8).tobytes())
    return found


def thumbnail(table: ImageTable, row: int) -> str:
    """An <img> that carries its pixels; empty if the image cannot be read."""
    try:
        return small_image(table.read(row, SIDE_PX))
    except UnreadableImage:
        return ""


def small_image(image: Image.Image) -> str:
    small = ' class="small"' if max(image.size) < SIDE_PX // 2 else ""
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    return f'<img{small} alt="" src="{encoded(image, "PNG" if small else "JPEG")}">'


def image_cards(
    table: ImageTable, cards: list[tuple[int, str, bool, str]], maps: Mapping[int, Image.Image] | None = None
) -> str:
    """Images by (row of the table, what the model says, whether that is right, a remark), each with its label.

    `maps`: by row, what is shown beside an image.
    """
    items = []
    for row, answer, right, remark in cards:
        color = "" if right else ' class="wrong"'
        caption = (
            f"<figcaption><b{color}>{escape(answer)}</b><br>label: {escape(table.targets.text(row))}"
            f'<br><span class="where">{escape(remark)}{"<br>" if remark else ""}{escape(str(table.paths[row]))}</span>'
            "</figcaption>"
        )
        shown = thumbnail(table, row)
        if maps and row in maps:
            shown = f'<div class="pair">{shown}{small_image(maps[row])}</div>'
        items.append(f'<li class="card"><figure>{shown}{caption}</figure></li>')
    size = " wide" if maps else ""
    return f'<ul class="cards{size}">{"".join(items)}</ul>' if items else ""


def html_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1, sortable: bool = False, short: bool = False
) -> str:
    """Cells are texts that are escaped here; the first `texts` columns are left-aligned, and wrap.

    `short`: the first column has short names, which stay on one line.
    """
    kinds = [' class="text"' if column < texts else "" for column in range(len(columns))]
    kinds[0] = ' class="text name"' if short else kinds[0]
    names = [f'<button type="button">{escape(name)}</button>' if sortable else escape(name) for name in columns]
    head = "".join(f"<th{kind}>{name}</th>" for kind, name in zip(kinds, names, strict=True))
    cells = ["".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)) for row in rows]
    body = "\n".join(f"<tr>{row}</tr>" for row in cells)
    style = ' class="sortable"' if sortable else ""
    return f'<div class="scroll"><table{style}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def section(title: str, *parts: str) -> str:
    """Empty if there is nothing in it."""
    body = "\n".join(part for part in parts if part)
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def share_text(value: float) -> str:
    return f"{value:.1%}"
