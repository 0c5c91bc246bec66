"""Compares finished runs side by side: a page, and what it comes to on the terminal.

python -m src.compare runs=<run or sweep dir> <dir> ... [metric=test/acc] [split=test] [output=comparison.html]
"""

import logging
import sys
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig

from src.cli.command import Command
from src.files.outputs import output_file
from src.settings.errors import ConfigError

if TYPE_CHECKING:
    from src.comparing.differences import PairedTable

log = logging.getLogger(__name__)


def compare(cfg: DictConfig) -> None:
    """Write the page. The sides after the first are compared with it, seed by seed where they have the same seeds."""
    output = output_file(cfg.output, "output", cfg.overwrite)
    given = sides_in(cfg.runs)

    from src.comparing.comparison import compare_sides
    from src.comparing.page import write_comparison

    comparison = compare_sides(given, cfg.split, cfg.metric)
    write_comparison(output, comparison)
    for line in comparison.gist():
        print(line)
    for difference in comparison.differences:
        show(difference)
    for note in comparison.notes:
        log.warning(note)
    log.info("%d runs compared: %s", len(comparison.runs), output)


def sides_in(runs: Any) -> list[list[str]]:
    """`a`, `[a, b]` and `[[a, b], c]` as a list of folders for each side. Raises ConfigError if there is none."""
    items = list(runs or ()) if isinstance(runs, ListConfig | None) else [runs]
    sides = [[str(text) for text in (item if isinstance(item, ListConfig) else [item])] for item in items]
    if not sides or not all(text.strip() for side in sides for text in side) or not all(sides):
        raise ConfigError("runs= names no run: give two or more, or a sweep: runs=<run dir> <run dir>.")
    return sides


def show(difference: "PairedTable") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=difference.metric, title_justify="left")
    for name in ("", "A", "B", f"B - A, {difference.unit}" if difference.unit else "B - A"):
        table.add_column(name, justify="right")
    for row in difference.rows:
        table.add_row(*row)
    print(*difference.before, sep="\n")
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    print(*difference.after, sep="\n")


main = Command(compare, "compare").main

if __name__ == "__main__":
    main()
