"""Compares finished runs side by side: a page, and the gist on the terminal.

python -m src.report runs=<run or sweep dir> <dir> ... [split=test] [output=comparison.html]
"""

import logging

from omegaconf import DictConfig

from src.cli.command import command
from src.files.outputs import output_file
from src.settings.errors import ConfigError

log = logging.getLogger(__name__)


def report(cfg: DictConfig) -> None:
    """Write the page; the first run is what the others are compared with."""
    output = output_file(cfg.output, "output", cfg.overwrite)
    folders = [cfg.runs] if isinstance(cfg.runs, str) else list(cfg.runs or ())
    if not any(str(folder).strip() for folder in folders):
        raise ConfigError("runs= names no run: give two or more, or a sweep: runs=<run dir> <run dir>.")

    from src.reports.comparison import compare_runs, write_comparison
    from src.runs.finished_runs import runs_of

    runs = [run for folder in folders for run in runs_of(str(folder))]
    if len(runs) < 2:
        raise ConfigError(
            f"runs='{folders[0]}' is a single run, whose own page is {runs[0].folder}/report/index.html: give two or "
            "more."
        )
    comparison = compare_runs(runs, cfg.split)
    write_comparison(output, comparison)
    for line in comparison.gist():
        print(line)
    log.info("%d runs compared: %s", len(runs), output)


main = command("report")(report)

if __name__ == "__main__":
    main()
