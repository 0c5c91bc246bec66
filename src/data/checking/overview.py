"""What a data set is and what was found in it, as lines for a terminal."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from src.data.checking.kinds import KINDS, Finding
from src.data.checking.look import Facts
from src.data.checking.target_check import TargetCounts
from src.data.splits import SPLITS
from src.data.table import ImageTable
from src.data.targets import Targets
from src.files.printable import printable
from src.settings.plurals import agreeing, number_of

EXAMPLES = 3  # shown of each kind
CLASSES = 20  # shown at most
NAME_LENGTH = 30
QUANTILES = (0.0, 0.5, 1.0)


def one_line(text: str) -> str:
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def overview_lines(table: ImageTable, facts: Facts, counts_of_targets: TargetCounts | None) -> Iterator[str]:
    """Images by class and split, sizes, formats; boxes or pixels."""
    splits = {split: table.splits[split] for split in SPLITS if split in table.splits}
    sizes = [len(rows) for rows in splits.values()]
    yield f"{number_of(sum(sizes), 'image')}, {len(facts.rows):,} readable"
    yield ""
    width = max(12, *(min(len(name), NAME_LENGTH) for name in table.class_names)) + 2
    yield " " * width + "".join(f"{name:>9s}" for name in [*splits, "all"])
    counts = [counts_K for rows in splits.values() if (counts_K := table.targets.counts(rows)) is not None]
    yield from count_lines(table.class_names, np.array(counts), width) if counts else range_lines(table.targets, width)
    yield f"{'images':{width}s}" + "".join(f"{number:9,d}" for number in [*sizes, sum(sizes)])
    yield ""
    if len(facts.rows):
        sides = np.sort(np.stack([facts.images_R["width"], facts.images_R["height"]]), axis=0)
        for name, side_R in zip(("shorter side", "longer side"), sides, strict=True):
            low, middle, high = np.quantile(side_R, QUANTILES)
            yield f"{name:{width}s} {low:.0f} to {high:.0f} pixels, median {middle:.0f}"
        yield f"{'modes':{width}s} " + counted(facts.modes)
        if any(facts.formats):
            yield f"{'formats':{width}s} " + counted(facts.formats)
    if counts_of_targets is not None:
        yield ""
        yield from counts_of_targets.lines(width)


def count_lines(class_names: list[str], counts_SK: npt.NDArray[np.int64], width: int) -> Iterator[str]:
    """Images of each class in each split and in all; of very many classes those with the most and the fewest."""
    order = np.argsort(-counts_SK.sum(axis=0), kind="stable")
    many = len(order) > CLASSES
    shown = np.concatenate([order[: CLASSES // 2], order[-CLASSES // 2 :]]) if many else range(len(order))
    for place, k in enumerate(shown):
        if many and place == CLASSES // 2:
            yield f"... {number_of(len(order) - CLASSES, 'class', 'classes')} between these"
        numbers = [*counts_SK[:, k], counts_SK[:, k].sum()]
        yield f"{one_line(class_names[k])[:NAME_LENGTH]:{width}s}" + "".join(f"{number:9,d}" for number in numbers)


def range_lines(numbers: Targets, width: int) -> Iterator[str]:
    for name, values_N in zip(numbers.names, numbers.values.T, strict=True):
        low, middle, high = np.quantile(values_N, QUANTILES)
        yield f"{one_line(name)[:NAME_LENGTH]:{width}s}  {low:g} to {high:g}, median {middle:g}"


def counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common() if name)


def finding_lines(table: ImageTable, found: list[Finding]) -> Iterator[str]:
    """The number of findings of each kind, with the first few."""
    for kind, (severity, what) in KINDS.items():
        of_kind = [finding for finding in found if finding.kind == kind]
        if not of_kind:
            continue
        yield f"{severity:8s}{len(of_kind):7,d}  {agreeing(len(of_kind), what)} ({kind})"
        for finding in of_kind[:EXAMPLES]:
            beside = "" if finding.other is None else f" = {table.paths[finding.other]}"
            name = f"{finding.name(table)}{beside}: ".removeprefix(": ")
            place = f" ({finding.place})" if finding.file else ""
            yield f"{'':17s}{name}{finding.detail}{place}"
        if len(of_kind) > EXAMPLES:
            yield f"{'':17s}... {len(of_kind) - EXAMPLES:,} more"
    if not found:
        yield "Nothing found: every image is readable and there once."
