"""Writes the page that fits the task."""

from pathlib import Path
from types import ModuleType

from src.reports.run import RunReport, write_run_page
from src.runs.results import write_json
from src.tasks.classification import report as classification
from src.tasks.multilabel import report as multilabel
from src.tasks.regression import report as regression

BY_LABELS: dict[str, ModuleType] = {"classes": classification, "tags": multilabel, "numbers": regression}


def write_report(folder: Path, report: RunReport) -> None:
    """Write index.html and intervals.json; fill `report.figures` and `report.intervals`. Needs at least one image."""
    page = BY_LABELS[report.measured[-1].table.label_kind]
    page.add_intervals(report)
    lost = {outputs.split for outputs in report.measured if not outputs.measurable}
    report.intervals = {name: both for name, both in report.intervals.items() if name.partition("/")[0] not in lost}
    write_json(folder / "intervals.json", {name: list(interval) for name, interval in report.intervals.items()})
    write_run_page(folder / "index.html", report, page.HEADLINE, page.sections(report))
