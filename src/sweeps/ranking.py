"""What a sweep prints when it has ended: its jobs, best first, and mean and spread of repetitions."""

import sys

from rich.console import Console
from rich.table import Table

from src.evaluation.metric_facts import FACTS
from src.settings.plurals import number_of
from src.sweeps.results import REPEATED, SweepResults, spread_text


def print_ranking(results: SweepResults) -> None:
    """The table of the jobs, by the monitored metric; then what failed."""
    swept, metrics = swept_settings(results), ranked_metrics(results)
    table = Table(title=f"{number_of(len(results.rows), 'job')}, best {results.monitor} first", title_justify="left")
    for name in ["job", *short_names(swept).values(), *metrics]:
        table.add_column(name, justify="right" if name in metrics else "left", overflow="fold")
    for row in results.ranked():
        values = [number_text(name, row.get(name)) for name in metrics]
        number, status = row["job"].split("_")[0], row["status"]
        table.add_row(number if status == "done" else f"{number} {status}", *(str(row[k]) for k in swept), *values)
    # In a file or a pipe there is no terminal whose width could be kept to.
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    for row in results.failed:
        print(f"Job {row['job']} failed: {row['error']}")


def print_repetitions(results: SweepResults) -> None:
    monitor, groups = results.monitor, results.repetitions()
    last = f"last/{monitor}"
    for group in groups:
        same = ", ".join(f"{key}={group[0][key]}" for key in swept_settings(results) if key not in REPEATED)
        for name in (monitor, last):
            if all(row.get(name) is not None for row in group):
                print(f"{name} {spread_text(group, name)} over {len(group)} jobs {same}".rstrip())
    if any(row.get(last) is not None for group in groups for row in group):
        print(f"({monitor} is of the epoch that was best on val, so optimistic; {last} of the last epoch.)")


def swept_settings(results: SweepResults) -> list[str]:
    """Those that differ between jobs."""
    return [key for key in results.settings() if len({row.get(key) for row in results.rows}) > 1]


def ranked_metrics(results: SweepResults) -> list[str]:
    """The monitored one, the same and the usual ones of test where they are there, and the duration."""
    there = {name for row in results.rows for name in row}
    usual = [f"test/{name}" for name in FACTS if name != "loss" and f"test/{name}" in there][:1]
    tested = [results.monitor.replace("val/", "test/"), *usual, "test/loss"]
    return [*dict.fromkeys([results.monitor, *(name for name in tested if name in there)]), "fit_seconds"]


def number_text(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if name.endswith("seconds") else f"{value:.4f}"


def short_names(keys: list[str]) -> dict[str, str]:
    """`lr` for `optimizer.lr`, where no other key ends like it."""
    last = [key.split(".")[-1] for key in keys]
    return {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}
