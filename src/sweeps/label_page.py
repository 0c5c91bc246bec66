"""The page about labels that are probably wrong: each image with its label and what is said instead."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from src.evaluation.label_errors import Suspect
from src.files.printable import printable
from src.reports.parts import SIDE_PX, html_table, small_image, write_document
from src.runs.run_images import read_image
from src.sweeps.held_out import HeldOut

SHOWN, MOST_CHANGES = 120, 6
TITLE = "Labels that may be wrong"


def write_page(
    path: Path,
    gist: str,
    changes: Sequence[tuple[str, int]],
    settings: Mapping[str, Any],
    held_out: HeldOut,
    suspects: Sequence[Suspect],
) -> None:
    """`changes`: how often which label would become which. `settings`: of a run, which say where the images are."""
    rest = len(suspects) - SHOWN
    counted = [[change, f"{count:,}"] for change, count in changes[:MOST_CHANGES]]
    often = len(changes) > 1 and len(changes) < len(suspects)
    cards = "".join(card(settings, held_out, one) for one in suspects[:SHOWN])
    parts = [
        f"<h1>{TITLE}</h1><p>{escape(gist)}.</p>",
        "<p>Each image was looked at by models that were not trained on it (split <i>folds</i>: those of the other "
        "folds; <i>test</i>: the mean of all). Some of these labels are right, and the models wrong: look before you "
        "change one.</p>",
        f"<h2>What would become what</h2>{html_table(['label → suggested', 'images'], counted)}" if often else "",
        f'<h2>Images</h2><ul class="cards">{cards}</ul>' if cards else "",
        f"<p>{rest:,} more are in the table beside this page.</p>" if rest > 0 else "",
    ]
    write_document(path, TITLE, parts)


def card(settings: Mapping[str, Any], held_out: HeldOut, one: Suspect) -> str:
    found = read_image(settings, held_out.paths[one.image], SIDE_PX)
    scores = ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in one.scores.items())
    where = f"{scores}<br>{held_out.splits[one.image]} · {escape(printable(held_out.paths[one.image]))}"
    return (
        f'<li class="card"><figure>{small_image(found[0]) if found else ""}<figcaption>label: '
        f'<b class="wrong">{escape(printable(held_out.labels[one.image]))}</b><br>suggested: '
        f'<b>{escape(printable(one.suggested))}</b><br><span class="where">{where}</span></figcaption></figure></li>'
    )
