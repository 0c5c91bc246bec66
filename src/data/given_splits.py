"""Splits and groups that the data say, as columns of text. Imports no torch. Shapes: N images."""

from typing import Any

import numpy as np
import numpy.typing as npt

from src.data.splits import SPLITS
from src.data.targets import Rows
from src.settings.errors import ConfigError
from src.settings.plurals import number_of


def rows_of_given(splits: npt.NDArray[Any], where: str, needs_train: bool, notes: list[str]) -> dict[str, Rows]:
    """Rows of each split that the data say (text [N]); `all` if they say none. `where` names the data in messages.

    Raises ConfigError if there are splits, and none to train on.
    """
    given = {name: rows for name in SPLITS if len(rows := np.flatnonzero(splits == name))}
    if not given:
        return {"all": np.arange(len(splits))}
    if left_out := len(splits) - sum(map(len, given.values())):
        notes.append(f"{number_of(left_out, 'image is', 'images are')} in no split: left out.")
    if "train" not in given and needs_train:
        raise ConfigError(
            f"{where} has images for {' and '.join(given)}, and none for train: bring some, or say with "
            "data.split_file=<table with the columns path and split> which images are which."
        )
    return given


def group_numbers(groups: npt.NDArray[Any], notes: list[str]) -> npt.NDArray[np.int64] | None:
    """A number for each group, int64 [N]; images without a group are a group each. None if there are no groups."""
    alone = groups == ""
    if alone.all():
        notes.append("The column with the groups is empty.")
        return None
    _, numbers_N = np.unique(groups, return_inverse=True)
    numbers_N[alone] = len(groups) + np.arange(int(alone.sum()))
    if alone.any():
        notes.append(f"{number_of(int(alone.sum()), 'image has', 'images have')} no group: each is a group of its own.")
    return numbers_N.astype(np.int64)
