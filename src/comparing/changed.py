"""The section of the page that shows the images whose answers changed."""

from collections.abc import Mapping
from contextlib import suppress
from html import escape

from src.comparing.comparison import Comparison
from src.comparing.images import Change, kind_of
from src.files.csv_files import read_table
from src.files.printable import printable
from src.reports.parts import SIDE_PX, encoded, small_image
from src.runs.finished_runs import Run
from src.runs.run_images import read_image

SHOWN = 24  # images that changed, each way
DRAWN_PX = 320  # shorter side of an image on which something is drawn, or more
Rows = Mapping[str, list[dict[str, str]]]  # of predictions.csv, by path


def images_section(comparison: Comparison, change: Change) -> str:
    right_or_wrong = ("Wrong before, right now", "Right before, wrong now")
    titles = right_or_wrong if change.right_or_wrong else ("Better now", "Worse now")
    name, before = comparison.name(change.run), comparison.name(change.before)
    shown = change.better[:SHOWN] + change.worse[:SHOWN]
    rows = [rows_of(run, change.split, set(shown)) for run in (change.before, change.run)]
    where = " Left its answers, right those of now." if kind_of(change.run).says_where else ""
    parts = [f"<h2>{escape(name)}: images that changed</h2><p>Before: {escape(before)}.{where}</p>"]
    for title, paths in zip(titles, (change.better, change.worse), strict=True):
        cards = "".join(card(comparison, change, path, rows) for path in paths[:SHOWN])
        size = " maps" if kind_of(change.run).says_where else ""
        parts.append(f"<h3>{title}: {len(paths):,}</h3>" + (f'<ul class="cards{size}">{cards}</ul>' if cards else ""))
    return "".join(parts)


def rows_of(run: Run, split: str, paths: set[str]) -> Rows:
    """What the run predicted for these images, if it can be drawn. Raises ConfigError, which names the file."""
    if not kind_of(run).says_where:
        return {}
    found: dict[str, list[dict[str, str]]] = {path: [] for path in paths}
    for row in read_table(run.folder / "report" / f"{split}_predictions.csv", ("path",)):
        if row["path"] in found:
            found[row["path"]].append(row)
    return found


def card(comparison: Comparison, change: Change, path: str, rows: list[Rows]) -> str:
    old, new = (comparison.answers.of(run, change.split)[path] for run in (change.before, change.run))
    return (
        f'<li class="card"><figure>{shown_image(change.run, path, rows)}'
        f"<figcaption>label: <b>{escape(new.label)}</b><br>before: {escape(old.text)}<br>now: {escape(new.text)}<br>"
        f'<span class="where">{escape(printable(path))}</span></figcaption></figure></li>'
    )


def shown_image(run: Run, path: str, rows: list[Rows]) -> str:
    """The image; twice, before and now, where the answers can be drawn on it."""
    side_px = DRAWN_PX if kind_of(run).says_where else SIDE_PX
    if (found := read_image(run.settings, path, side_px)) is None:
        return ""
    image, size_wh = found
    if kind_of(run).says_where:
        with suppress(ValueError):  # a damaged table
            drawn = [kind_of(run).drawn(image, size_wh, of_run[path]) for of_run in rows]
            images = [f'<img alt="" src="{encoded(one, "JPEG")}">' for one in drawn]
            return f'<div class="pair">{"".join(images)}</div>'
    return small_image(image)
