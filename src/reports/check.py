"""What src.check found: a table of everything, and a page with the images, which loads nothing and runs no script."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from src.data.checking.kinds import KINDS, Finding, split_of_row
from src.data.checking.target_check import TargetCounts
from src.data.splits import SPLITS
from src.data.table import ImageTable
from src.files.csv_files import CsvWriter
from src.reports.check_targets import page_of
from src.reports.parts import write_document
from src.settings.plurals import agreeing

SHOWN, SHOWN_DRAWN = 24, 12  # findings of each kind; as large drawings


def write_page(
    path: Path,
    table: ImageTable,
    found: list[Finding],
    reasons: list[str],
    overview: list[str],
    notes: list[str],
    counts: TargetCounts | None,
) -> None:
    """Verdict, overview, what there is to say about boxes or masks, and each kind of finding with its first images."""
    by_kind = {kind: [finding for finding in found if finding.kind == kind] for kind in KINDS}
    present = {kind: of_kind for kind, of_kind in by_kind.items() if of_kind}
    links = "".join(
        f'<a href="#{kind}"><b class="{KINDS[kind][0]}">{len(of_kind):,}</b> {escape(kind.replace("_", " "))}</a>'
        for kind, of_kind in present.items()
    )
    parts = [
        "<h1>Data check</h1>",
        verdict(reasons, found),
        f"<nav>{links}</nav>" if links else "",
        f"<pre>{escape(chr(10).join(overview))}</pre>",
        *(f"<p>{escape(note)}</p>" for note in notes),
        *([] if counts is None else page_of(table.targets).sections(table, counts)),
        *(section(table, kind, of_kind) for kind, of_kind in present.items()),
    ]
    write_document(path, "Data check", parts)


def verdict(reasons: list[str], found: list[Finding]) -> str:
    if reasons:
        items = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
        return f'<div class="verdict bad"><b>Training is not advisable.</b><ul>{items}</ul></div>'
    warnings = any(finding.severity != "note" for finding in found)
    return f'<div class="verdict"><b>Go ahead{", but see the warnings" if warnings else ""}.</b></div>'


def section(table: ImageTable, kind: str, of_kind: list[Finding]) -> str:
    severity, what = KINDS[kind]
    drawn = page_of(table.targets).drawn and any(finding.row is not None for finding in of_kind)
    size = (" drawn" if drawn else "") + (" pairs" if of_kind[0].other is not None else "" if drawn else " wide")
    shown = SHOWN_DRAWN if drawn else SHOWN
    cards = "\n".join(card(table, finding) for finding in of_kind[:shown])
    more = len(of_kind) - shown
    note = f"<p>{more:,} more are in check.csv.</p>" if more > 0 else ""
    said = escape(agreeing(len(of_kind), what))
    title = f'<h2 id="{kind}"><span class="{severity}">{severity}</span>: {said} ({len(of_kind):,})</h2>'
    return f'<section>{title}<p class="kind">{kind}</p><ul class="cards{size}">{cards}</ul>{note}</section>'


def card(table: ImageTable, finding: Finding) -> str:
    place = f'<br><span class="where">{escape(finding.place)}</span>' if finding.file else ""
    detail = f'<p class="detail">{escape(finding.detail)}{place}</p>'
    if finding.row is None:
        return f'<li class="card"><b>{escape(finding.name(table))}</b>{detail}</li>'
    images = image(table, finding.row, finding.boxes)
    if finding.other is not None:
        images = f'<div class="pair">{images}{image(table, finding.other)}</div>'
    return f'<li class="card">{images}{detail}</li>'


def image(table: ImageTable, row: int, boxes: Sequence[int] = ()) -> str:
    """A figure; of boxes, those that it is about are in colour."""
    split = next((name for name in SPLITS if name in table.splits and row in table.splits[name]), "")
    return page_of(table.targets).figure(table, row, split, boxes)


def write_findings(path: Path, table: ImageTable, found: list[Finding], spreadsheet_safe: bool = True) -> None:
    """One row a finding, the most serious kinds first. Columns:

    kind        as in src/data/checking/kinds.py: leak, duplicate, unreadable, ...
    severity    error, warning or note
    path        of the image, as the data name it; empty if it is about a class
    other_path  of the image that it is a copy of
    label       of the image, or the class; several classes or numbers with ; between them
    split       of the image: train, val or test
    detail      the reason, the size, where the other copy is
    file        with the annotation, if it is about one, and
    object      the number by which this file tells its objects apart: its id, line or place
    """
    split_N = split_of_row(table)
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        columns = ["kind", "severity", "path", "other_path", "label", "split", "detail", "file", "object"]
        writer = CsvWriter(file, columns, spreadsheet_safe)
        for one in found:
            name, label, split = one.image, one.label, ""
            if one.row is not None:
                name, label = str(table.paths[one.row]), table.targets.text(one.row)
                split = SPLITS[split_N[one.row]]
            other_path = "" if one.other is None else str(table.paths[one.other])
            number = "" if one.number is None else str(one.number)
            writer.write([one.kind, one.severity, name, other_path, label, split, one.detail, one.file, number])
