"""What an evaluation keeps of each image; metrics, intervals, worst images and the report follow from it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

log = logging.getLogger(__name__)

Arrays = Mapping[str, npt.NDArray[Any]]
MAX_NOT_FINITE = 0.02  # share of a split's images above which there are no metrics: they would be of the others alone
MAX_NAMES = 20  # of images in a message


@dataclass(frozen=True)
class Evidence:
    """Of the N readable images of a split, by their rows of the image table [N].

    `arrays`: what the task keeps (`keep`), by name; the first axis is the image. `labels`: of these images, as in the
    table. `groups_N`: likewise, None if the images stand alone. `measurable`: whether these are enough of the split for
    metrics; too much of what was kept of the others is not finite.
    """

    split: str
    rows_N: npt.NDArray[np.int64]
    arrays: Arrays
    labels: Any
    groups_N: npt.NDArray[np.int64] | None = None
    measurable: bool = True

    def __len__(self) -> int:
        return len(self.rows_N)


class Columns(Protocol):
    """What is needed of an image table: names of the images, targets, and groups of images that belong together."""

    @property
    def paths(self) -> npt.NDArray[Any]: ...
    @property
    def labels(self) -> Any: ...
    @property
    def groups_N(self) -> npt.NDArray[np.int64] | None: ...  # noqa: N802


def finite_evidence(split: str, table: Columns, rows_N: npt.NDArray[np.int64], arrays: Arrays) -> Evidence:
    """Without images of which something kept is not finite, which a warning names."""
    finite_N = np.ones(len(rows_N), dtype=np.bool_)
    for values in arrays.values():
        if np.issubdtype(values.dtype, np.floating):
            finite_N &= np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    measurable = int((~finite_N).sum()) <= MAX_NOT_FINITE * len(rows_N)
    if not finite_N.all():
        names = [str(table.paths[row]) for row in rows_N[~finite_N]]
        more = f"\n  ... {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        log.warning(
            "The outputs for %d of %d %s images are not finite; metrics, calibration, predictions and report leave "
            "them out%s:\n  %s%s",
            len(names),
            len(rows_N),
            split,
            "" if measurable else f". More than {MAX_NOT_FINITE:.0%} is too many: there are no metrics of {split}",
            "\n  ".join(names[:MAX_NAMES]),
            more,
        )
    good_N = rows_N[finite_N]
    kept = {name: values[finite_N] for name, values in arrays.items()}
    groups_N = None if table.groups_N is None else table.groups_N[good_N]
    return Evidence(split, good_N, kept, table.labels[good_N], groups_N, measurable)
