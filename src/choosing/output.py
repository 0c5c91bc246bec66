"""choose.csv, choose.json and choose.html, and the table on the terminal."""

import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from src.choosing.ranking import Ranking
from src.choosing.untried import Untried
from src.choosing.words import commands, short_name, table_rows, verdict
from src.evaluation.metric_facts import facts_of
from src.files.csv_files import write_csv_file
from src.files.whole_files import replaced, write_json
from src.reports.parts import SORTING, chart, html_table, section, write_document
from src.reports.ranking_chart import Bar, draw_ranking

FILES = ("choose.csv", "choose.json", "choose.html")
COLUMNS = (
    "rank", "backbone", "weights", "status", "metric", "score", "low", "high", "difference", "difference_low",
    "difference_high", "tied", "images_per_s_inference", "images_per_s_training", "parameters", "image_px", "features",
    "note",
)  # fmt: skip
OF_NETWORK = ("images_per_s_inference", "images_per_s_training", "parameters", "image_px", "features")


def rows_of(ranking: Ranking, untried: Sequence[Untried]) -> list[dict[str, Any]]:
    """One for each candidate, by column; None where there is no value."""
    rows: list[dict[str, Any]] = []
    for rank, place in enumerate(ranking.places, start=1):
        facts = place.result.facts
        rows.append({
            "rank": rank, "backbone": facts["backbone"], "weights": facts["weights"], "status": "ranked",
            "metric": ranking.metric, "score": place.score, "low": place.interval[0], "high": place.interval[1],
            "difference": place.difference, "difference_low": place.difference_interval[0],
            "difference_high": place.difference_interval[1], "tied": place.tied,
            **{name: facts[name] for name in OF_NETWORK}, "note": facts["note"],
        })  # fmt: skip
    for one in untried:
        backbone, _, weights = one.name.partition("@")
        row = {"backbone": backbone, "weights": weights or None, "status": one.status, "note": one.reason}
        rows.append(dict.fromkeys(COLUMNS) | row)
    return rows


def write_all(
    folder: Path, ranking: Ranking, untried: Sequence[Untried], words: Sequence[str], device: str, safe: bool
) -> None:
    rows = rows_of(ranking, untried)
    with replaced(folder / "choose.csv") as part:
        texts = ({key: "" if value is None else value for key, value in row.items()} for row in rows)
        write_csv_file(part, COLUMNS, texts, safe)
    probes = {place.result.name: place.result.facts for place in ranking.places}
    found = {
        "ranked_by": ranking.metric, "images": ranking.images, "device": device, "candidates": rows,
        "verdict": verdict(ranking), "commands": commands(ranking, words), "probes": probes,
    }  # fmt: skip
    write_json(folder / "choose.json", found)
    write_page(folder / "choose.html", ranking, untried, words, device)


def write_page(path: Path, ranking: Ranking, untried: Sequence[Untried], words: Sequence[str], device: str) -> None:
    columns, rows = table_rows(ranking)
    bars = [
        Bar(short_name(place.result.name), place.score, place.interval, not place.tied, place is ranking.first)
        for place in ranking.places
    ]
    facts = facts_of(ranking.metric)
    better = {"max": "higher is better", "min": "lower is better"}.get(facts.better, "")
    explained = (
        f"<p>{escape(facts.words.capitalize())}{f', {better}' if better else ''}, of a linear probe on the features "
        f"of each frozen network, over {ranking.images:,} images of train and val. Each image is answered by a probe "
        "that never saw its part of the data. Intervals say what other images of the same kind would give, not what "
        "another training would; differences are over the same images.</p>"
    )
    single = "".join(f"<li>{escape(line)}</li>" for line in notes(ranking, untried))
    go_on = "\n".join(commands(ranking, words))
    parts = [
        "<h1>Which pretrained network</h1>",
        f'<div class="verdict">{"<br>".join(escape(line) for line in verdict(ranking))}</div>',
        section("Ranking", explained, chart(draw_ranking(bars, ranking.metric), "Scores with their intervals")),
        section("All numbers", html_table(columns, rows, sortable=True), f"<p>Speed: {escape(device)}.</p>"),
        section("Notes", f"<ul>{single}</ul>" if single else ""),
        section("Go on", f"<pre>{escape(go_on)}</pre>", "<p>The second trains the head alone, within seconds.</p>"),
    ]
    write_document(path, "Which pretrained network", parts, SORTING)


def notes(ranking: Ranking, untried: Sequence[Untried]) -> list[str]:
    """Lines about single candidates."""
    facts = [(place.result.name, place.result.facts["note"]) for place in ranking.places]
    lines = [f"note: {name}: {note}" for name, note in facts if note]
    return lines + [f"{one.status}: {one.name}: {one.reason}" for one in untried]


def show(ranking: Ranking, untried: Sequence[Untried], words: Sequence[str], device: str) -> None:
    """On the terminal; commands on lines of their own, to be copied."""
    columns, rows = table_rows(ranking)
    table = Table(title=f"{ranking.images:,} images of train and val, {device}", title_justify="left")
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for place, row in zip(ranking.places, rows, strict=True):
        table.add_row(*row, style=None if place.tied else "dim")
    Console(width=None if sys.stdout.isatty() else 160).print(table, markup=False)
    for line in notes(ranking, untried):
        print(line)
    print("", *verdict(ranking), "", "Go on with it, everything trained, or the head alone within seconds:", sep="\n")
    for command in commands(ranking, words):
        print(f"  {command}")
