"""The folder of a trial, and what the table of the sweep knows of it."""

from pathlib import Path

from src.cli.run_dir import job_dir
from src.files.whole_files import write_json
from src.settings.checkpoints import JOB_FILE
from src.sweeps.search.composing import Plan
from src.sweeps.search.study import Study, Tried
from src.sweeps.table import typed_values


def trial_folder(folder: Path, number: int, values: dict[str, str]) -> Path:
    return folder / job_dir(number, ",".join(f"{key}={value}" for key, value in values.items()))


def write_row(folder: Path, study: Study, plan: Plan, tried: Tried) -> None:
    """`folder`: of the search."""
    whole = tried.status == "done" and plan.folds == 1  # whose run has left its metrics
    value = {} if tried.value is None else {plan.monitor: tried.value}
    facts = {
        "number": tried.number,
        "ended": tried.status != "running",
        "monitor": plan.monitor,
        "mode": plan.mode,
        "settings": {**typed_values(study.space.fixed), **tried.values},
        "status": tried.status,
        "metrics": {} if whole else {**value, "epochs": tried.steps},
    }
    place = trial_folder(folder, tried.number, tried.values)
    place.mkdir(exist_ok=True)
    write_json(place / JOB_FILE, facts)
