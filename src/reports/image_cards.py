"""Images of a table side by side, each with what a model says about it."""

from collections.abc import Mapping
from html import escape

from PIL import Image

from src.data.table import ImageTable
from src.reports.parts import small_image, thumbnail


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
