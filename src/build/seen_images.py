"""Whether networks that answer together are measured on images that one of them was trained on."""

import logging
from typing import Any

import numpy as np

from src.build.data import data_to_evaluate, is_other_data
from src.build.trained_model import TrainedModel
from src.data.table import ImageTable
from src.runs.record import RunRecord
from src.settings.errors import ConfigError

log = logging.getLogger(__name__)


def warn_of_seen(model: TrainedModel, changes: dict[str, Any], table: ImageTable, split: str) -> None:
    """Of members with other splits, such as folds, each has trained on what is val for another."""
    if len(model.members) < 2:
        return
    rows = np.arange(len(table)) if split == "all" else table.splits[split]
    wanted, seen = set(table.paths[rows].tolist()), set[str]()
    for record in records_by_data(model):
        if record.config["data"] == model.record.config["data"] and not changes:
            seen |= set(table.paths[table.splits["train"]].tolist())
        else:
            seen |= trained_on(record, changes, table)
    if common := len(wanted & seen):
        log.warning(
            "%d of these %d images were trained on by one of the checkpoints, or more: the metrics flatter. An honest "
            "measure is of images that none has seen, such as split=test of data that all cut alike.",
            common, len(wanted),
        )  # fmt: skip


def records_by_data(model: TrainedModel) -> list[RunRecord]:
    """One member for each of the splits that they were trained on."""
    records: list[RunRecord] = []
    for member in model.members:
        if all(member.record.config["data"] != other.config["data"] for other in records):
            records.append(member.record)
    return records


def trained_on(record: RunRecord, changes: dict[str, Any], table: ImageTable) -> set[str]:
    """Paths of the training images of a member; none if it was trained on other data than those of the table."""
    if is_other_data(changes, record):
        return set()
    try:
        own = data_to_evaluate({}, record).table
    except ConfigError as error:
        log.info("Whether a checkpoint was trained on these images is not known: %s", error)
        return set()
    return set(own.paths[own.splits["train"]].tolist()) if "train" in own.splits and own.root == table.root else set()
