"""Look a data set over before training: damaged files, duplicates, leaks between splits, classes, sizes.

python -m src.check data=folder data.root=<dir> [task=multilabel|regression] [output=check]

Exit status: 0 = go ahead (there may be warnings), 2 = training is not advisable, 1 = a mistake in the settings.
Training is not advisable if

- classes have the names of splits: the folders are read on the wrong level,
- a class has no readable training image,
- more than 2 % of the images cannot be read,
- more than 1 % of val or of test is in another split too, the same bytes or nearly the same image,
- more than 0.1 % of the images are there a second time, the same bytes, under another label.
"""

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from src.cli.command import command, importing
from src.files.csv_files import CsvWriter
from src.files.outputs import output_folder
from src.files.printable import printable
from src.settings.errors import ConfigError

if TYPE_CHECKING:
    from src.data.checking.findings import Finding
    from src.data.checking.look import Facts
    from src.data.table import ImageTable

log = logging.getLogger(__name__)

EXAMPLES = 3  # printed of each kind
CLASSES = 20  # printed at most
NOT_ADVISABLE = 2  # exit status


def check(cfg: DictConfig) -> None:
    """Print a summary, and write check.csv (see write_findings) and check.html to the folder `output`."""
    output = find_output(cfg)

    with importing():
        import numpy as np

        from src.build.data import build_data_to_check
        from src.data.checking.findings import find_all, reasons_against
        from src.data.checking.look import look_at_images, say_where_missing_are
        from src.data.formats.csv_table import CsvDataModule
        from src.reports.check import write_page
        from src.settings.signatures import check_targets

    check_targets(OmegaConf.create({"data": cfg.data}))
    datamodule = build_data_to_check(cfg)
    if isinstance(datamodule, CsvDataModule):
        datamodule.require_found()
    table = datamodule.table
    rows = np.unique(np.concatenate(list(table.splits.values())))
    log.info("Looking at %s images", f"{len(rows):,}")
    start = time.perf_counter()
    facts = look_at_images(table, rows, datamodule.num_workers)
    found = find_all(table, say_where_missing_are(table, facts), cfg.tiny_px, cfg.near_duplicate_bits)
    reasons = reasons_against(table, found)
    log.info("Done in %.1f s", time.perf_counter() - start)
    overview = list(overview_lines(table, facts))
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_findings(output / "check.csv", table, found, cfg.spreadsheet_safe)
        write_page(output / "check.html", table, found, reasons, overview)
    except OSError as error:
        raise ConfigError(f"output='{output}' cannot be written: {error.strerror}.") from error
    show([*overview, *table.notes, "", *finding_lines(table, found)])
    show(["", f"Images: {output / 'check.html'}, all findings: {output / 'check.csv'}", ""])
    if reasons:
        show(["Training is not advisable:", *(f"  - {reason}" for reason in reasons)])
        sys.exit(NOT_ADVISABLE)
    show(["Go ahead" + (", but see the warnings." if any(f.severity != "note" for f in found) else ".")])


def show(lines: list[str]) -> None:
    """Print lines that have names from the data in them: one line each, with what the terminal lacks spelled out."""
    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        print(one_line(line).encode(encoding, "backslashreplace").decode(encoding))


def one_line(text: str) -> str:
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def find_output(cfg: DictConfig) -> Path:
    """The folder for the results, not made yet. Raises ConfigError if it cannot be, or for numbers out of range."""
    if cfg.tiny_px < 0:
        raise ConfigError(f"tiny_px={cfg.tiny_px} is out of range: it must be at least 0.")
    if cfg.near_duplicate_bits is not None and not 0 <= cfg.near_duplicate_bits <= 32:
        raise ConfigError(
            f"near_duplicate_bits={cfg.near_duplicate_bits} is out of range: it must be at least 0 and at most 32, or "
            "null for exact duplicates only."
        )
    return output_folder(cfg.output, "output", ("check.csv", "check.html"), cfg.overwrite)


def write_findings(path: Path, table: "ImageTable", found: "list[Finding]", spreadsheet_safe: bool = True) -> None:
    """One row a finding, the most serious kinds first. Columns:

    kind        as in src/data/checking/findings.py: leak, duplicate, unreadable, ...
    severity    error, warning or note
    path        of the image, as the data name it; empty if it is about a class
    other_path  of the image that it is a copy of
    label       of the image, or the class; several classes or numbers with ; between them
    split       of the image: train, val or test
    detail      the reason, the size, where the other copy is
    """
    from src.data.checking.findings import split_of_row
    from src.data.splits import SPLITS

    split_N = split_of_row(table)
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        columns = ["kind", "severity", "path", "other_path", "label", "split", "detail"]
        writer = CsvWriter(file, columns, spreadsheet_safe)
        for finding in found:
            row, other = finding.row, finding.other
            image = ("", finding.label, "")
            if row is not None:
                image = (str(table.paths[row]), table.label_text(row), SPLITS[split_N[row]])
            name, label, split = image
            other_path = "" if other is None else str(table.paths[other])
            writer.write([finding.kind, finding.severity, name, other_path, label, split, finding.detail])


def overview_lines(table: "ImageTable", facts: "Facts") -> Iterator[str]:
    """What the data are: images by class and split, sizes, formats."""
    import numpy as np

    from src.data.splits import SPLITS

    splits = [split for split in SPLITS if split in table.splits]
    total = sum(len(table.splits[split]) for split in splits)
    yield f"{total:,} images, {len(facts.rows):,} readable"
    yield ""
    width = max(12, *(min(len(name), 30) for name in table.class_names)) + 2
    yield " " * width + "".join(f"{name:>9s}" for name in [*splits, "all"])
    if table.label_kind == "numbers":
        for name, values_N in zip(table.class_names, table.labels.T, strict=True):
            low, middle, high = np.quantile(values_N, [0, 0.5, 1])
            yield f"{one_line(name)[:30]:{width}s}  {low:g} to {high:g}, median {middle:g}"
    else:
        counts_SK = np.array([table.class_counts(table.splits[split]) for split in splits])
        order = np.argsort(-counts_SK.sum(axis=0), kind="stable")
        shown = order if len(order) <= CLASSES else np.concatenate([order[: CLASSES // 2], order[-CLASSES // 2 :]])
        for place, k in enumerate(shown if len(order) > CLASSES else range(len(order))):
            if len(order) > CLASSES and place == CLASSES // 2:
                yield f"... {len(order) - CLASSES} classes between these"
            numbers = [*counts_SK[:, k], counts_SK[:, k].sum()]
            yield f"{one_line(table.class_names[k])[:30]:{width}s}" + "".join(f"{number:9,d}" for number in numbers)
    sizes = [len(table.splits[split]) for split in splits]
    yield f"{'images':{width}s}" + "".join(f"{number:9,d}" for number in [*sizes, total])
    yield ""
    if len(facts.rows):
        sides = np.sort(np.stack([facts.width_R, facts.height_R]), axis=0)
        for name, side_R in zip(("shorter side", "longer side"), sides, strict=True):
            low, middle, high = np.quantile(side_R, [0, 0.5, 1])
            yield f"{name:{width}s} {low:.0f} to {high:.0f} pixels, median {middle:.0f}"
        yield f"{'modes':{width}s} " + counted(facts.modes)
        if any(facts.formats):
            yield f"{'formats':{width}s} " + counted(facts.formats)


def counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common() if name)


def finding_lines(table: "ImageTable", found: "list[Finding]") -> Iterator[str]:
    """The number of each kind, with the first few."""
    from src.data.checking.findings import KINDS

    for kind, (severity, what) in KINDS.items():
        of_kind = [finding for finding in found if finding.kind == kind]
        if not of_kind:
            continue
        yield f"{severity:8s}{len(of_kind):7,d}  {what} ({kind})"
        for finding in of_kind[:EXAMPLES]:
            name = finding.label if finding.row is None else table.paths[finding.row]
            beside = "" if finding.other is None else f" = {table.paths[finding.other]}"
            yield f"{'':17s}{name}{beside}: {finding.detail}"
        if len(of_kind) > EXAMPLES:
            yield f"{'':17s}... {len(of_kind) - EXAMPLES:,} more"
    if not found:
        yield "Nothing found: every image is readable and there once."


main = command("check")(check)

if __name__ == "__main__":
    main()
