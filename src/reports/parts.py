"""What the pages share: one file each, which loads nothing from anywhere and opens from disk."""

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from src.data.decode import UnreadableImage
from src.data.table import ImageTable
from src.files.outputs import GENERATOR
from src.files.whole_files import replaced

SIDE_PX = 160  # longer side of a thumbnail
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --error: #c62828; --warning: #b26a00; --note: #4a6da7 }
@media (prefers-color-scheme: dark) { :root { --error: #ff8a80; --warning: #ffc46b; --note: #9fc0ff } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.5rem; margin: .5rem 0 1rem; overflow-wrap: anywhere }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .4rem; border-top: 1px solid var(--line); padding-top: 1rem }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; overflow-wrap: anywhere }
.verdict { border-left: .3rem solid #2e7d32; background: var(--soft); padding: .6rem 1rem; border-radius: .2rem }
.verdict.bad { border-color: var(--error) }
.verdict ul { margin: .3rem 0; padding-left: 1.2rem }
pre { overflow-x: auto; background: var(--soft); padding: .8rem 1rem; border-radius: .3rem; font-size: 13px }
nav { display: flex; flex-wrap: wrap; gap: .4rem .6rem; margin: 1rem 0 }
nav a { color: inherit; text-decoration: none; padding: .1rem .7rem; border: 1px solid var(--line);
  border-radius: 1rem }
.error, .wrong { color: var(--error) } .warning { color: var(--warning) } .note { color: var(--note) }
p.kind { margin: 0 0 .8rem; opacity: .75 }
ul.cards { list-style: none; margin: 0; padding: 0; display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 9.5rem), 1fr)) }
ul.cards.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 16rem), 1fr)) }
ul.cards.pairs { grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)) }
ul.cards.maps { grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)) }
ul.cards.maps img { display: block; width: 100%; height: auto }
li.card { border: 1px solid var(--line); border-radius: .4rem; padding: .6rem; min-width: 0; font-size: 13px;
  break-inside: avoid; overflow-wrap: anywhere }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .6rem }
figure { margin: 0; min-width: 0 }
figure img { display: block; height: 8.5rem; width: 100%; object-fit: contain; background: var(--soft);
  border-radius: .2rem }
img.small { image-rendering: pixelated }
figcaption, .detail { overflow-wrap: anywhere }
figcaption { margin-top: .3rem }
.where, .detail { opacity: .75 }
.detail { margin: .3rem 0 0 }
img.chart { max-width: max(100%, 36rem); height: auto; background: #fff; border-radius: .3rem;
  display: block }
.big { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 11rem), 1fr)) }
.big div { border: 1px solid var(--line); border-radius: .4rem; padding: .6rem .9rem }
.big b { display: block; font-size: 1.6rem; line-height: 1.3 }
.big span { opacity: .75; font-size: 13px }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child, th.text, td.text { text-align: left }
td.text, td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 6rem }
th button { font: inherit; font-weight: 600; background: none; border: 0; color: inherit; cursor: pointer; padding: 0 }
th button::after { content: " \\2195"; opacity: .4 }
th[aria-sort=ascending] button::after { content: " \\2191"; opacity: 1 }
th[aria-sort=descending] button::after { content: " \\2193"; opacity: 1 }
table.matrix td { text-align: center; border: 1px solid var(--line); padding: .3rem; min-width: 2.4rem }
table.matrix th { font-weight: 400; max-width: 9rem; overflow: hidden; text-overflow: ellipsis }
@media print { body { max-width: none; padding: 0; font-size: 12px } nav { display: none }
  h2 { break-after: avoid } img.chart { max-height: 22cm; width: auto } }
"""

# Sorts a table by the column whose heading is pressed.
SORTING = """
for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.querySelectorAll("th").forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "descending";
      table.tHead.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "ascending" : "descending");
      const value = (row) => row.cells[column].textContent;
      const compare = (a, b) => {
        const x = value(a), y = value(b), p = parseFloat(x), q = parseFloat(y);
        const order = isNaN(p) || isNaN(q) ? x.localeCompare(y) : p - q;
        return down ? order : -order;
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
    });
  });
}
"""


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
    image.save(buffer, kind, **({"quality": 80} if kind == "JPEG" else {"optimize": True}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def chart(image: Image.Image, alt: str) -> str:
    """An image from src/reports/charts.py, at half its pixels; sixteen times fewer colours are enough for it."""
    data = encoded(image.quantize(64, dither=Image.Dither.NONE), "PNG")
    size = f'width="{image.width // 2}" height="{image.height // 2}"'
    return f'<div class="scroll"><img class="chart" {size} alt="{escape(alt)}" src="{data}"></div>'


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


def html_table(columns: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1, sortable: bool = False) -> str:
    """Cells are texts that are escaped here; the first `texts` columns are left-aligned."""
    kinds = [' class="text"' if column < texts else "" for column in range(len(columns))]
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
