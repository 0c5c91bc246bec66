"""The page with the pictures that src.check found: one file, which loads nothing and runs no script."""

import base64
import io
from html import escape
from pathlib import Path

from PIL import Image

from src.data.decode import UnreadableImage
from src.data.findings import KINDS, Finding
from src.data.splits import SPLITS
from src.data.table import ImageTable

SHOWN = 24  # findings of each kind
SIDE_PX = 160  # longer side of a thumbnail
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --error: #c62828; --warning: #b26a00; --note: #4a6da7 }
@media (prefers-color-scheme: dark) { :root { --error: #ff8a80; --warning: #ffc46b; --note: #9fc0ff } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.5rem; margin: .5rem 0 1rem }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .2rem; border-top: 1px solid var(--line); padding-top: 1rem }
.verdict { border-left: .3rem solid #2e7d32; background: var(--soft); padding: .6rem 1rem; border-radius: .2rem }
.verdict.bad { border-color: var(--error) }
.verdict ul { margin: .3rem 0; padding-left: 1.2rem }
pre { overflow-x: auto; background: var(--soft); padding: .8rem 1rem; border-radius: .3rem; font-size: 13px }
nav { display: flex; flex-wrap: wrap; gap: .4rem .6rem; margin: 1rem 0 }
nav a { color: inherit; text-decoration: none; padding: .1rem .7rem; border: 1px solid var(--line);
  border-radius: 1rem }
.error { color: var(--error) } .warning { color: var(--warning) } .note { color: var(--note) }
p.kind { margin: 0 0 .8rem; opacity: .75 }
ul.cards { list-style: none; margin: 0; padding: 0; display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 11.5rem), 1fr)) }
ul.cards.pairs { grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)) }
li.card { border: 1px solid var(--line); border-radius: .4rem; padding: .6rem; min-width: 0; font-size: 13px }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .6rem }
figure { margin: 0; min-width: 0 }
img { display: block; height: 8.5rem; width: 100%; object-fit: contain; background: var(--soft); border-radius: .2rem }
img.small { image-rendering: pixelated }
figcaption, .detail { overflow-wrap: anywhere }
figcaption { margin-top: .3rem }
.where, .detail { opacity: .75 }
.detail { margin: .3rem 0 0 }
"""


def write_page(path: Path, table: ImageTable, found: list[Finding], reasons: list[str], overview: list[str]) -> None:
    """Verdict, overview, and each kind of finding with thumbnails of the first ones."""
    by_kind = {kind: [finding for finding in found if finding.kind == kind] for kind in KINDS}
    present = {kind: of_kind for kind, of_kind in by_kind.items() if of_kind}
    links = "".join(
        f'<a href="#{kind}"><b class="{KINDS[kind][0]}">{len(of_kind):,}</b> {escape(kind.replace("_", " "))}</a>'
        for kind, of_kind in present.items()
    )
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Data check</title><style>{STYLE}</style></head><body><h1>Data check</h1>",
        verdict(reasons, found),
        f"<nav>{links}</nav>" if links else "",
        f"<pre>{escape(chr(10).join(overview))}</pre>",
        *(f"<p>{escape(note)}</p>" for note in table.notes),
        *(section(table, kind, of_kind) for kind, of_kind in present.items()),
        "</body></html>\n",
    ]
    path.write_text("\n".join(part for part in parts if part), encoding="utf-8", errors="backslashreplace")


def verdict(reasons: list[str], found: list[Finding]) -> str:
    if reasons:
        items = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
        return f'<div class="verdict bad"><b>Training is not advisable.</b><ul>{items}</ul></div>'
    warnings = any(finding.severity != "note" for finding in found)
    return f'<div class="verdict"><b>Go ahead{", but see the warnings" if warnings else ""}.</b></div>'


def section(table: ImageTable, kind: str, of_kind: list[Finding]) -> str:
    severity, what = KINDS[kind]
    pairs = " pairs" if of_kind[0].other is not None else ""
    cards = "\n".join(card(table, finding) for finding in of_kind[:SHOWN])
    more = len(of_kind) - SHOWN
    note = f"<p>{more:,} more are in check.csv.</p>" if more > 0 else ""
    title = f'<h2 id="{kind}"><span class="{severity}">{severity}</span>: {escape(what)} ({len(of_kind):,})</h2>'
    return f'<section>{title}<p class="kind">{kind}</p><ul class="cards{pairs}">{cards}</ul>{note}</section>'


def card(table: ImageTable, finding: Finding) -> str:
    detail = f'<p class="detail">{escape(finding.detail)}</p>'
    if finding.row is None:
        return f'<li class="card"><b>{escape(finding.label)}</b>{detail}</li>'
    pictures = picture(table, finding.row)
    if finding.other is not None:
        pictures = f'<div class="pair">{pictures}{picture(table, finding.other)}</div>'
    return f'<li class="card">{pictures}{detail}</li>'


def picture(table: ImageTable, row: int) -> str:
    split = next((name for name in SPLITS if name in table.splits and row in table.splits[name]), "")
    where = escape(f"{split} · {table.label_text(row)}")
    caption = f'<figcaption>{escape(str(table.paths[row]))}<br><span class="where">{where}</span></figcaption>'
    return f"<figure>{thumbnail(table, row)}{caption}</figure>"


def thumbnail(table: ImageTable, row: int) -> str:
    """An <img> that carries its pixels; empty if the picture cannot be read."""
    try:
        image = table.read(row, SIDE_PX)
    except UnreadableImage:
        return ""
    small = ' class="small"' if max(image.size) < SIDE_PX // 2 else ""
    kind = "PNG" if small else "JPEG"
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img{small} alt="" src="data:image/{kind.lower()};base64,{data}">'
