"""The page of a search."""

import math
from html import escape
from pathlib import Path

from src.reports.parts import SORTING, chart, html_table, section, share_text, write_document
from src.reports.search_charts import TrialPoint, draw_history, draw_settings
from src.sweeps.search.best import TEST_FOLDER
from src.sweeps.search.importance import BEST_SHARE
from src.sweeps.search.outcome import SearchReport
from src.sweeps.search.space import Choice


def write_search_page(path: Path, report: SearchReport) -> None:
    """One file, which loads nothing."""
    title = f"Search over {', '.join(report.study.space.described())}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(report.counts())}; {escape(report.saved())}.</p>",
        best_section(report),
        history_section(report),
        importance_section(report),
        trials_section(report),
        failed_section(report),
        space_section(report),
    ]
    write_document(path, title, parts, SORTING)


def best_section(report: SearchReport) -> str:
    if report.best is None:
        return section("The best trial", "<p>No trial came to its end.</p>")
    values = html_table(["setting", "value"], [[key, value] for key, value in report.best.values.items()], texts=2)
    test = "".join(f"<li>{escape(line)}</li>" for line in report.on_test())
    measured = report.test is not None and not report.test.problem
    shown = (
        f'<p><a href="{TEST_FOLDER}/index.html">Its report on test</a></p>'
        if measured and report.plan.folds == 1
        else ""
    )
    note = "It was measured on test, and no other trial was:" if measured else ""
    return section(
        f"The best trial: {report.best.number}",
        f"<p>{escape(report.caution())} {note}</p><ul>{test}</ul>{shown}{values}",
        f"<pre>{escape(report.command)}</pre>",
    )


def points_of(report: SearchReport) -> list[TrialPoint]:
    return [
        TrialPoint(one.number, math.nan if one.value is None else one.value, one.status == "done", one.values)
        for one in report.tried
        if one.status in ("done", "pruned", "diverged")
    ]


def history_section(report: SearchReport) -> str:
    points, monitor = points_of(report), report.plan.monitor
    if not any(math.isfinite(point.value) for point in points):
        return ""
    history = draw_history(points, monitor, report.plan.mode == "max")
    scales = {one.key: None if isinstance(one, Choice) else one.log for one in report.study.space.dimensions}
    note = (
        "<p>Of trials that ended early it is the best value until then: all epochs might have given a better one.</p>"
    )
    against = chart(draw_settings(points, scales, monitor), f"{monitor} against each setting")
    return section("Trial by trial", chart(history, f"{monitor} trial by trial"), note, against)


def importance_section(report: SearchReport) -> str:
    if not report.importances:
        return ""
    rows = [
        [one.key, share_text(one.share), f"{share_text(one.low)} to {share_text(one.high)}", f"{one.chance:.2g}"]
        for one in report.importances
    ]
    note = (
        f"<p>PED-ANOVA: how much the values of the best {BEST_SHARE:.0%} of the trials (five at least) are crowded, "
        "compared with those of all. In the third column 95 % intervals from drawing the trials again; p: how often "
        "a share as large comes about where results are dealt to the trials by chance. Both are rough: the trials are "
        "few, and not independent of each other.</p>"
    )
    return section("What matters", html_table(["setting", "share", "95 % interval", "p"], rows), note)


def trials_section(report: SearchReport) -> str:
    keys = list(report.study.space.described())
    rows = [
        [str(one.number), one.status, *(one.values[key] for key in keys), number_text(one.value), str(one.steps)]
        for one in report.tried
    ]
    columns = ["trial", "status", *keys, report.plan.monitor, "epochs"]
    return section("All trials", html_table(columns, rows, texts=2, sortable=True))


def failed_section(report: SearchReport) -> str:
    rows = [[str(one.number), one.error] for one in report.tried if one.error]
    return section("Trials that failed or diverged", html_table(["trial", "why"], rows, texts=2) if rows else "")


def space_section(report: SearchReport) -> str:
    study = report.study
    rows = [[key, words] for key, words in study.space.described().items()]
    search = f"Sampler {study.settings.sampler}, pruner {study.settings.pruner}, seed {study.settings.seed}."
    fixed = " ".join(study.space.fixed)
    common = f"<p>{escape(search)} In common: <code>{escape(fixed)}</code></p>"
    return section("What was searched", html_table(["setting", "values"], rows, texts=2), common)


def number_text(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
