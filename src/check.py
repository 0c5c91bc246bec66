"""Look a data set over before training: damaged files, duplicates, leaks between splits, classes, sizes.

python -m src.check data=folder data.root=<dir> [task=...] [output=check]

Exit status: 0 = go ahead (there may be warnings), 2 = training is not advisable, 1 = a mistake in the settings.
What speaks against training, and from how many images on, is in src/data/checking/reasons.py.
"""

import logging
import sys
import time
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from src.cli.command import Command, importing
from src.files.outputs import output_folder
from src.settings.errors import ConfigError
from src.settings.plurals import number_of

log = logging.getLogger(__name__)

NOT_ADVISABLE = 2  # exit status


def check(cfg: DictConfig) -> None:
    """Print a summary, and write check.csv and check.html to the folder `output` (src/reports/check.py)."""
    output = output_folder(cfg.output, "output", ("check.csv", "check.html"), cfg.overwrite)

    with importing():
        from src.build.data import build_data_to_check
        from src.data.checking.annotations import other_notes
        from src.data.checking.findings import find_all
        from src.data.checking.look import look_at_images
        from src.data.checking.of_targets import check_of
        from src.data.checking.overview import finding_lines, overview_lines
        from src.data.checking.reasons import reasons_against
        from src.reports.check import write_findings, write_page
        from src.settings.signatures import check_targets

    data = cast(dict[str, Any], OmegaConf.to_container(cfg.data, resolve=True))
    check_targets({"data": data})
    datamodule = build_data_to_check(data, cfg.task.targets)
    datamodule.require_found()
    table = datamodule.table
    log.info("Looking at %s", number_of(len(table.rows_in_splits), "image"))
    start = time.perf_counter()
    facts = look_at_images(table, table.rows_in_splits, datamodule.num_workers)
    found = find_all(datamodule, facts, cfg.tiny_px, cfg.near_duplicate_bits)
    reasons = reasons_against(table, found)
    log.info("Done in %.1f s", time.perf_counter() - start)
    counts, notes = check_of(table.targets).counts(datamodule, facts), other_notes(datamodule)
    overview = list(overview_lines(table, facts, counts))
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_findings(output / "check.csv", table, found, cfg.spreadsheet_safe)
        write_page(output / "check.html", table, found, reasons, overview, notes, counts)
    except OSError as error:
        raise ConfigError(f"output='{output}' cannot be written: {error.strerror}.") from error
    where = f"Images: {output / 'check.html'}, all findings: {output / 'check.csv'}"
    show([*overview, *notes, "", *finding_lines(table, found), "", where, ""])
    if reasons:
        show(["Training is not advisable:", *(f"  - {reason}" for reason in reasons)])
        sys.exit(NOT_ADVISABLE)
    show(["Go ahead" + (", but see the warnings." if any(f.severity != "note" for f in found) else ".")])


def show(lines: list[str]) -> None:
    """Print lines that have names from the data in them: one line each."""
    from src.data.checking.overview import one_line

    for line in lines:
        print(one_line(line))


main = Command(check, "check").main

if __name__ == "__main__":
    main()
