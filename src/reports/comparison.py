"""The page that compares runs: metrics, settings, curves, pairs, and the images whose answers changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from src.reports.charts import BLUE, PALETTE, Curve, draw_curves
from src.reports.parts import SORTING, chart, html_table, small_image, write_document


@dataclass(frozen=True)
class PairedTable:
    """A metric of two sides. `rows`: pair, A, B, B - A in `unit`; lines of text: what is compared, and what follows."""

    metric: str
    unit: str
    rows: Sequence[Sequence[str]]
    before: Sequence[str]
    after: Sequence[str]


@dataclass(frozen=True)
class ChangedImage:
    path: str
    label: str
    before: str
    now: str
    image: Image.Image | None


@dataclass(frozen=True)
class ChangedImages:
    """Of run `name` against run `before`; `groups`: title, how many there are, those that are shown."""

    name: str
    before: str
    groups: Sequence[tuple[str, int, Sequence[ChangedImage]]]


@dataclass(frozen=True)
class ComparisonPage:
    """One entry per run in `names`, `values` and each of `settings`; `curves` are of the first runs."""

    names: Sequence[str]
    gist: Sequence[str]
    metrics: Sequence[str]
    values: Sequence[Sequence[str]]
    settings: Mapping[str, Sequence[str]]
    monitor: str
    curves: Sequence[list[float]]
    paired: Sequence[PairedTable]
    changes: Sequence[ChangedImages]


def write_comparison(path: Path, page: ComparisonPage) -> None:
    """One file, which loads nothing."""
    title = f"{len(page.names)} runs compared"
    different = [[key, *texts] for key, texts in page.settings.items()]
    parts = [
        f"<h1>{title}</h1>",
        "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in page.gist) + "</ul>",
        "<p>The p-values are about these trained models and other images. Whether the settings do better with other "
        "seeds too needs several runs of each: <code>sweep=seeds</code>.</p>",
        "<h2>Metrics</h2>",
        html_table(
            ["run", *page.metrics],
            [[name, *values] for name, values in zip(page.names, page.values, strict=True)],
            sortable=True,
        ),
        *(paired_section(table) for table in page.paired),
        "<h2>Settings that differ</h2>",
        html_table(["setting", *page.names], different, texts=1 + len(page.names))
        if different
        else "<p>None: the runs repeat each other.</p>",
        curves_section(page),
        *(images_section(changes) for changes in page.changes),
    ]
    write_document(path, title, parts, SORTING)


def paired_section(table: PairedTable) -> str:
    unit = f", {table.unit}" if table.unit else ""
    return (
        f"<h2>{escape(table.metric)}, paired by seed and fold</h2><pre>{escape(chr(10).join(table.before))}</pre>"
        + html_table(["", "A", "B", f"B - A{unit}"], table.rows)
        + "".join(f"<p>{escape(line)}</p>" for line in table.after)
    )


def curves_section(page: ComparisonPage) -> str:
    colors = [BLUE, *(PALETTE * len(page.curves))]
    lines = [Curve(*one) for one in zip(page.names, page.curves, colors, strict=False) if one[1]]
    if not lines:
        return ""
    return f"<h2>{escape(page.monitor)} per epoch</h2>{chart(draw_curves(page.monitor, lines), 'Curves')}"


def images_section(changes: ChangedImages) -> str:
    parts = [f"<h2>{escape(changes.name)}: images that changed</h2><p>Before: {escape(changes.before)}.</p>"]
    for title, count, shown in changes.groups:
        parts.append(f"<h3>{title}: {count:,}</h3>")
        parts.append(f'<ul class="cards">{"".join(map(card, shown))}</ul>' if shown else "")
    return "".join(parts)


def card(one: ChangedImage) -> str:
    return (
        f'<li class="card"><figure>{small_image(one.image) if one.image else ""}'
        f"<figcaption>label: <b>{escape(one.label)}</b><br>before: {escape(one.before)}<br>"
        f'now: {escape(one.now)}<br><span class="where">{escape(one.path)}</span></figcaption></figure></li>'
    )
