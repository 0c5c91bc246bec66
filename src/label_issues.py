"""Finds labels that are probably wrong, by what the models of a sweep of folds say about images new to them.

python -m src.label_issues runs=<dir of sweep=folds> [every=true] [output=label_issues.csv]
"""

import logging

from omegaconf import DictConfig

from src.cli.command import Command
from src.files.outputs import output_file
from src.settings.errors import ConfigError

log = logging.getLogger(__name__)


def label_issues(cfg: DictConfig) -> None:
    """Write a row per label that is probably wrong, the likeliest first, and a page with the images beside it.

    Columns: path, label, suggested, the scores of the task's prediction (src/tasks/*/prediction.py), split.
    """
    output = output_file(cfg.output, "output", cfg.overwrite)
    if output.suffix.lower() != ".csv":
        raise ConfigError(f"output='{cfg.output}' is written as a csv file: give a name that ends with .csv.")
    output_file(str(output.with_suffix(".html")), "output", cfg.overwrite)

    from src.runs.finished_runs import runs_of
    from src.sweeps.label_issues import find_label_issues, write_label_issues

    given = [cfg.runs] if isinstance(cfg.runs, str) else [str(text) for text in cfg.runs or ()]
    if not given:
        raise ConfigError("runs= names no sweep: give the folder of one with folds.")
    issues = find_label_issues([run for text in given for run in runs_of(text)], cfg.every)
    page = write_label_issues(output, issues, cfg.spreadsheet_safe)
    print(issues.gist)
    log.info("%s, and with the images: %s", output, page)


main = Command(label_issues, "label_issues").main

if __name__ == "__main__":
    main()
