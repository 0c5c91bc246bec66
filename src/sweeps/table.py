"""The table of a sweep: one row per job, written after each job, printed when all are done."""

import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig, OmegaConf, read_write

from src.cli.mistakes import fail
from src.cli.quoting import quoted
from src.cli.run_dir import new_dir
from src.files.csv_files import CsvWriter, read_table, write_csv_file
from src.files.whole_files import replaced, write_json
from src.settings.checkpoints import JOB_FILE
from src.settings.plurals import number_of
from src.sweeps.results import SweepResults, summary


class SweepTable(Callback):
    """Writes `sweep.csv` (status, settings, metrics; mean, std, min, max, interval of repetitions), prints the ranking.

    Jobs may run in other processes or on other machines (hydra/launcher=joblib, submitit_slurm, ray). So all that is
    known of them is what lies in their folders; `job.json` in each says what the job was.

    With folds, `out_of_fold.csv` has what each fold's model says about the images that it was not trained on, and
    `label_issues.csv` the labels that look wrong by it.
    """

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """The table is of this sweep, and not of one that had the same folder before."""
        if OmegaConf.select(config, "hydra.runtime.choices.sweep") == "folds":
            require_folds(typed_values(unresolved(config.hydra.overrides.task)), config.data.folds)
        take_new_folder(config)
        for file in Path(config.hydra.sweep.dir).glob(f"*/{JOB_FILE}"):
            file.unlink()

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        if config.hydra.mode.name == "MULTIRUN":
            write_job_file(config, ended=False)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if config.hydra.mode.name == "MULTIRUN":
            write_job_file(config, ended=True)
            results = SweepResults.read(Path(config.hydra.runtime.output_dir).parent)
            write_table(results, config.get("spreadsheet_safe", True))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """In the process that was started by hand. Ends it with a message and status 1 if a job has failed."""
        from src.sweeps.label_issues import write_of_sweep
        from src.sweeps.ranking import print_ranking, print_repetitions  # with rich, which a start can do without

        results = SweepResults.read(Path(config.hydra.sweep.dir))
        if not results.rows:
            return
        for row in results.rows:
            if row["status"] == "running":  # there is nobody left to run it
                row |= {"status": "failed", "error": "ended without a result: see its train.log"}
        safe = config.get("spreadsheet_safe", True)
        write_table(results, safe)
        print_ranking(results)
        print_repetitions(results)
        if merged := write_out_of_fold(results, safe):
            print(f"Each image's prediction by a model that was not trained on it: {merged}")
        if told := write_of_sweep(results, safe):
            print(told)
        print(f"All of it: {results.folder}/sweep.csv", flush=True)
        if failed := [row["job"] for row in results.failed]:
            fail(f"{number_of(len(failed), 'job')} of the sweep failed: {', '.join(failed)}")


def require_folds(typed: dict[str, str], default: int) -> None:
    """End a sweep=folds whose jobs would all fail, or of which there would be none: by data.folds it has its jobs."""
    folds = typed.get("data.folds", str(default))
    if "data.fold" not in typed and (not folds.isdecimal() or int(folds) < 2):
        fail(f"data.folds={folds}: sweep=folds has a job for each fold, so it takes one whole number of at least 2.")


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


def unresolved(overrides: ListConfig) -> list[str]:
    """As they were typed, ${...} and all."""
    return cast(list[str], OmegaConf.to_container(overrides, resolve=False))


def write_job_file(config: DictConfig, ended: bool) -> None:
    facts = {"number": config.hydra.job.num, "ended": ended, "monitor": config.task.monitor, "mode": config.task.mode}
    file = Path(config.hydra.runtime.output_dir) / JOB_FILE
    write_json(file, {**facts, "settings": typed_values(unresolved(config.hydra.overrides.task))})


def write_table(results: SweepResults, spreadsheet_safe: bool) -> None:
    """sweep.csv: jobs, best first, and the repetitions of each below. Several processes may do so at one moment."""
    columns = list(dict.fromkeys(key for row in results.rows for key in row))
    rows = [*results.ranked(), *(row for group in results.repetitions() for row in summary(group))]
    with replaced(results.folder / "sweep.csv", writer=f"{socket.gethostname()}.{os.getpid()}") as part:
        write_csv_file(part, columns, rows, spreadsheet_safe)


def write_out_of_fold(results: SweepResults, spreadsheet_safe: bool) -> Path | None:
    """Merge the folds' val_predictions.csv; None if there are no folds."""
    rows = [row for group in results.repetitions() for row in group if "data.fold" in row]
    if not rows:
        return None
    output = results.folder / "out_of_fold.csv"
    with output.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer: CsvWriter | None = None
        for row in rows:
            for line in read_table(results.folder / row["job"] / "report" / "val_predictions.csv"):
                writer = writer or CsvWriter(file, ["job", "fold", *line], spreadsheet_safe)
                writer.write({"job": row["job"], "fold": row["data.fold"], **line})
    return output
