"""What an evaluation keeps of each image; metrics, intervals, worst images and the report follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]
MAX_NOT_FINITE = 0.02  # share of a split's images above which there are no metrics: they would be of the others alone


@dataclass(frozen=True)
class Evidence:
    """Of the N readable images of a split, by their rows of the image table [N].

    `arrays`: what the task keeps (`keep`), by name; the first axis is the image. `labels`: of these images, as in the
    table. `groups_N`: likewise, None if the images stand alone. `measurable`: whether these are enough of the split for
    metrics; too much of what was kept of the others is not finite. `memo`: what was computed from it and is asked for
    more than once, by name.
    """

    split: str
    rows_N: npt.NDArray[np.int64]
    arrays: Arrays
    labels: Any
    groups_N: npt.NDArray[np.int64] | None = None
    measurable: bool = True
    memo: dict[str, Any] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.rows_N)
