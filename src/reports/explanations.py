"""The page with the heat maps of src.explain: it shows the files beside it, loads nothing else and runs no script."""

from html import escape
from pathlib import Path

from src.files.outputs import GENERATOR
from src.files.whole_files import replaced

STYLE = """
:root { color-scheme: light dark; --line: #8884 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 90rem; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.4rem }
p { max-width: 48rem }
ul { list-style: none; padding: 0; display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)) }
li { border: 1px solid var(--line); border-radius: .4rem; padding: .6rem; overflow-wrap: anywhere; font-size: 13px }
img { display: block; width: 100%; height: auto }
.error { color: #c62828 }
@media (prefers-color-scheme: dark) { .error { color: #ff8a80 } }
"""
NOTE = (
    "Left the image as the network sees it, with the prediction; right where it speaks for the class named there: "
    "yellow the most in this image, dark violet not at all. Each map has a scale of its own. A map says where, in "
    "coarse squares, and neither why nor whether the answer is right (docs/explain.md)."
)


def write_page(path: Path, rows: list[dict[str, str]]) -> None:
    """`rows` as in explanations.csv."""
    cards = "\n".join(card(row) for row in rows)
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{GENERATOR}\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src 'self' file:; "
        "style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Explanations</title><style>{STYLE}</style></head><body><h1>Explanations</h1><p>{escape(NOTE)}</p>\n"
        f"<ul>{cards}</ul></body></html>\n"
    )
    with replaced(path) as part:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")


def card(row: dict[str, str]) -> str:
    if "error" in row:
        return f'<li>{escape(row["path"])}<br><span class="error">{escape(row["error"])}</span></li>'
    alt = escape(f"Predicted {row['prediction']}; map for {row['explained']}")
    return f'<li><img loading="lazy" src="{escape(row["file"])}" alt="{alt}">{escape(row["path"])}</li>'
