"""The folders of a sweep and of its jobs: one for each sweep, and in each job's what the job was."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, read_write

from src.cli.quoting import quoted
from src.cli.run_dir import new_dir
from src.files.whole_files import write_json

JOB_FILE = "job.json"


def take_new_folder(config: DictConfig) -> None:
    """Make the sweep's folder, unless the command line names one: <date_time>, or <date_time>_2 if another has that.

    Sweeps that start in the same second would else write into each other's folder. Hydra composes each job's settings
    anew from its overrides, so the folder has to be among them.
    """
    typed = OmegaConf.select(config, "hydra.overrides.hydra")
    # Not resolved: they may hold ${...} of their own.
    overrides = None if typed is None else cast(list[str], OmegaConf.to_container(typed, resolve=False))
    if overrides is None or any(text.lstrip("+").startswith("hydra.sweep.dir=") for text in overrides):
        return
    folder = str(new_dir(Path(config.hydra.sweep.dir)))
    with read_write(config):
        config.hydra.sweep.dir = folder
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(folder)}")


def typed_values(overrides: Iterable[str]) -> dict[str, str]:
    """What was typed for each setting, without the quotes that Hydra needs around blanks and brackets."""
    values = {}
    parser = OverridesParser.create()
    for text in overrides:
        key, equals, typed = text.lstrip("+").partition("=")
        if equals and not key.startswith("~"):
            value = parser.parse_override(text).value()
            values[key] = value if isinstance(value, str) else typed
    return values


def write_job_file(config: DictConfig, ended: bool) -> None:
    settings = typed_values(cast(list[str], OmegaConf.to_container(config.hydra.overrides.task, resolve=False)))
    facts = {"number": config.hydra.job.num, "ended": ended, "monitor": config.task.monitor, "mode": config.task.mode}
    file = Path(config.hydra.runtime.output_dir) / JOB_FILE
    write_json(file, {**facts, "settings": settings})


def read_row(job: dict[str, Any], job_dir: Path) -> dict[str, Any]:
    """A job's line of the table, from what lies in its folder."""
    metrics_file, error_file = job_dir / "metrics.json", job_dir / "error.txt"
    row = {"job": job_dir.name, "status": "done" if job["ended"] else "running", **job["settings"]}
    if error_file.exists():
        row |= {"status": "failed", "error": error_file.read_text(encoding="utf-8").strip().splitlines()[-1]}
    if metrics_file.exists() and job["ended"]:
        row |= json.loads(metrics_file.read_text(encoding="utf-8"))
    return row
