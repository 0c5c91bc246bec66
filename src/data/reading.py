"""Every image of a data set read once, by worker processes: to see whether that works, or to keep something of it."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar, cast

import numpy as np
from torch.utils.data import DataLoader, Dataset

from src.cli.progress import progress_bar
from src.data.decode import UnreadableImage
from src.data.table import ImageTable
from src.data.targets import Rows
from src.data.workers import begin_worker
from src.settings.errors import ConfigError
from src.settings.plurals import number_of

READ_AT_ONCE = 16  # items that a worker hands over together
FEW = 64  # items, for which no processes are started
SAMPLES = 8  # images that are tried
SHOWN = 10  # damaged images in a message

Item = TypeVar("Item")


def read_each(read: Callable[[int], Item], rows: list[np.int64]) -> list[Item]:
    """A DataLoader's `collate_fn`, so that its workers read."""
    return [read(int(row)) for row in rows]


def read_all(read: Callable[[int], Item], rows: Rows, num_workers: int, what: str) -> Iterator[Item]:
    """What `read` gives of each row in order, with a progress bar that says `what` is done."""
    batches = DataLoader(
        cast(Dataset[np.int64], rows), READ_AT_ONCE, num_workers=num_workers if len(rows) > FEW else 0,
        collate_fn=partial(read_each, read), worker_init_fn=begin_worker,
    )  # fmt: skip
    with progress_bar() as progress:
        bar = progress.add_task(what, total=len(rows), speed="", loss="")
        for batch in batches:
            yield from batch
            progress.update(bar, advance=len(batch))


def require_all_readable(table: ImageTable, num_workers: int) -> None:
    """Decode every image of the splits; raise ConfigError, naming the first few, if one cannot be."""
    rows = np.sort(np.concatenate(list(table.splits.values())))
    damaged = [text for text in read_all(partial(why_unreadable, table), rows, num_workers, "read all images") if text]
    if damaged:
        shown = "\n  ".join(damaged[:SHOWN])
        raise ConfigError(
            f"{len(damaged)} of {number_of(len(rows), 'image')} cannot be read (data.on_error=fail):\n  {shown}\n"
            "Repair or remove them, or set data.on_error=skip. python -m src.check lists what is wrong with the data."
        )


def require_some_readable(table: ImageTable, rows: Rows) -> None:
    """Raise ConfigError if none of a few of these images can be read."""
    reasons = []
    for row in rows[:: max(1, len(rows) // SAMPLES)]:
        if not (reason := why_unreadable(table, int(row))):
            return
        reasons.append(reason)
    raise ConfigError("None of the training images tried can be read:\n  " + "\n  ".join(reasons))


def why_unreadable(table: ImageTable, row: int) -> str:
    """With its path; an empty text if the image can be read."""
    try:
        table.read(row)
    except UnreadableImage as error:
        return f"{table.paths[row]}: {error}"
    return ""
