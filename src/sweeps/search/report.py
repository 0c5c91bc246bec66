"""What is said of a search that has ended: table, importance, the best trial and what it is worth, and the page."""

import json
from pathlib import Path

from src.files.printable import printable
from src.files.whole_files import write_json
from src.sweeps.results import SweepResults
from src.sweeps.search.best import TEST_FOLDER, OnTest, measured_on_test, write_best
from src.sweeps.search.composing import Plan
from src.sweeps.search.importance import importances
from src.sweeps.search.outcome import SearchReport
from src.sweeps.search.page import write_search_page
from src.sweeps.search.rows import trial_folder
from src.sweeps.search.study import Study, Tried
from src.sweeps.table import write_table

PAGE = "search.html"


def report_search(folder: Path, study: Study, plan: Plan, safe: bool) -> None:
    """Of the trials so far. Test is measured for the best trial alone, by src.evaluate."""
    from src.sweeps.ranking import print_ranking  # with rich, which a start can do without

    results, tried, best = SweepResults.read(folder), study.tried(), study.best()
    write_table(results, safe)
    print_ranking(results)
    if best is None:
        print("No trial came to its end.", flush=True)
    test = test_of(folder, study, plan, best) if best is not None and plan.tests else None
    report = SearchReport(folder, study, plan, tried, best, test, "", importances(study))
    if best is not None:
        comments = [report.caution(), *report.on_test(), f"{report.counts()}; all of them are in sweep.csv."]
        command = write_best(folder, study.space, best, [printable(line) for line in comments])
        report = SearchReport(folder, study, plan, tried, best, test, command, report.importances)
    write_search_page(folder / PAGE, report)
    print_report(report)


def test_of(folder: Path, study: Study, plan: Plan, best: Tried) -> OnTest:
    """Measured now, or for the same trial before."""
    place = trial_folder(folder, best.number, best.values)
    run_dirs = [place] if plan.folds == 1 else [place / f"fold_{number}" for number in range(plan.folds)]
    kept = folder / TEST_FOLDER / "trial.json"
    if kept.is_file():
        known = json.loads(kept.read_text(encoding="utf-8"))
        if known["trial"] == best.number:
            return OnTest(known["metrics"], known["intervals"])
    print(f"Measuring trial {best.number} on test, the only one for which that is done.", flush=True)
    result = measured_on_test(folder, run_dirs, plan.accelerator, "trust=true" in study.space.fixed)
    if not result.problem:
        write_json(kept, {"trial": best.number, "metrics": result.metrics, "intervals": result.intervals})
    return result


def print_report(report: SearchReport) -> None:
    print(f"{report.counts()}; {report.saved()}.")
    if report.importances:
        print("How much a good result hangs on each setting (95 % interval; p: how often chance gives as much):")
        for one in report.importances:
            print(f"  {one.key}  {one.share:.0%} ({one.low:.0%}..{one.high:.0%}), p {one.chance:.2g}")
    if report.best is not None:
        print(f"Best: trial {report.best.number}. {report.caution()}")
        for line in report.on_test()[:4]:
            print(f"  {line}")
        print(f"Train by it: {report.command}")
    print(f"All of it: {report.folder / PAGE}, {report.folder / 'sweep.csv'}", flush=True)
