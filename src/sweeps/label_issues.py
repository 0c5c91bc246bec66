"""The labels of a data set that are probably wrong: a table and a page with the images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.evaluation.label_errors import Suspect
from src.files.csv_files import write_csv_file
from src.files.plain_files import unreadable
from src.files.whole_files import replaced
from src.runs.finished_runs import Run, read_run
from src.settings.errors import ConfigError
from src.settings.plurals import number_of
from src.sweeps.held_out import HeldOut, kind_of, read_held_out
from src.sweeps.label_page import write_page
from src.sweeps.results import Row, SweepResults

TABLE = "label_issues.csv"


@dataclass(frozen=True)
class LabelIssues:
    """`suspects`: the worst first; the images are those of `held_out`, of `runs`. `every` as in `find_label_issues`."""

    runs: Sequence[Run]
    held_out: HeldOut
    suspects: list[Suspect]
    every: bool

    @property
    def gist(self) -> str:
        """One sentence."""
        found, images = len(self.suspects), number_of(len(self.held_out), "image")
        if not found:
            return f"No label of {images} looks wrong to the models that were not trained on it."
        what, share = number_of(found, "label"), found / len(self.held_out)
        if self.every:
            return f"{what} of {images} ({share:.1%}) and what the models say instead, the likeliest errors first"
        return f"About {what} of {images} ({share:.1%}) may be wrong, the likeliest first"

    def changes(self) -> list[tuple[str, int]]:
        """`bees -> ants` and how often, the commonest first."""
        labels = self.held_out.labels
        return Counter(f"{labels[one.image]} → {one.suggested}" for one in self.suspects).most_common()


def find_label_issues(runs: Sequence[Run], every: bool = False) -> LabelIssues:
    """`every`: all labels that are not what the models answer. Raises ConfigError as `read_held_out`."""
    held_out = read_held_out(runs)
    try:
        suspects = kind_of(runs[0]).suspects(held_out.labels, held_out.names, held_out.numbers_NK, every)
    except ValueError as reason:
        raise unreadable(runs[0].folder / "report" / "val_predictions.csv", f"its labels: {reason}") from reason
    return LabelIssues(runs, held_out, suspects, every)


def write_label_issues(table: Path, issues: LabelIssues, spreadsheet_safe: bool) -> Path:
    """The table, and the page beside it, which is returned."""
    held_out, page = issues.held_out, table.with_suffix(".html")
    scores = list(issues.suspects[0].scores) if issues.suspects else []
    rows = (
        [held_out.paths[one.image], held_out.labels[one.image], one.suggested, *one.scores.values(),
         held_out.splits[one.image]]
        for one in issues.suspects
    )  # fmt: skip
    with replaced(table) as part:
        write_csv_file(part, ["path", "label", "suggested", *scores, "split"], rows, spreadsheet_safe)
    write_page(page, issues.gist, issues.changes(), issues.runs[0].settings, held_out, issues.suspects)
    return page


def write_of_sweep(results: SweepResults, spreadsheet_safe: bool) -> str | None:
    """Of a sweep with folds, when it has ended; returns what is told about it, None where there is nothing to tell.

    Where the sweep has several settings, the folds of the best one are taken.
    """
    if not (jobs := best_folds(results)):
        return None
    try:
        issues = find_label_issues([read_run(results.folder / row["job"]) for row in jobs])
    except ConfigError:  # boxes, more classes than are in the tables
        return None
    page = write_label_issues(results.folder / TABLE, issues, spreadsheet_safe)
    return f"{issues.gist}: {page}" if issues.suspects else issues.gist


def best_folds(results: SweepResults) -> list[Row]:
    groups = [group for group in results.repetitions() if all("data.fold" in row for row in group)]

    def mean(group: list[Row]) -> float:
        value = sum(float(row[results.monitor]) for row in group) / len(group)
        return value if results.mode == "max" else -value

    return max(groups, key=mean, default=[])
