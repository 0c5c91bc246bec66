"""What several networks together learn from val: of what their runs wrote about it, so that no image is needed."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from src.build.members import order_of
from src.build.trained_model import TrainedModel
from src.cli.command_line import resumed_run_dir
from src.evaluation.evidence import Evidence
from src.files.csv_files import read_csv_file
from src.settings.errors import ConfigError
from src.settings.plurals import number_of
from src.training.combination import Combination
from src.training.output_layer import OutputLayer
from src.training.task import FineTuneTask

log = logging.getLogger(__name__)

Rows = list[dict[str, str]]


def combination_of(members: Sequence[TrainedModel], views: int, calibrated: bool) -> Combination:
    """Of the outputs of so many views through each; as trained, or at each member's own temperature."""
    layers = [layer_of(member.task, calibrated) for member in members]
    orders = [order_of(member, members[0]) for member in members]
    return kind_of(members[0].task)(layers * views, orders * views)


def kind_of(task: FineTuneTask) -> type[Combination]:
    assert task.combination is not None  # members.py asks
    return task.combination


def layer_of(task: FineTuneTask, calibrated: bool) -> OutputLayer:
    layer = task.output_layer()
    if not calibrated and layer.temperature is not None:
        layer.temperature = 1.0
    return layer


def evidence_of_val(members: Sequence[TrainedModel]) -> tuple[Evidence, str] | None:
    """The outputs of all of them together for images of val, as trained, and in words which images these are.

    Of a val split that all have, or of the val splits of folds, of which each image is outside one member's training
    alone: then the outputs are that member's. None where neither is so, or where the runs do not say it any more.
    """
    task, rows = members[0].task, [rows_of_val(member) for member in members]
    if not all(rows):
        return None
    try:
        found = [
            task.read_evidence(of_one, member.record.temperature) for member, of_one in zip(members, rows, strict=True)
        ]
    except ValueError as error:
        log.info("What the runs wrote about val cannot be read: %s", error)
        return None
    kept = [evidence for evidence in found if evidence is not None]
    if len(kept) < len(members):
        return None
    if has_one_val(members, rows):
        outputs = [torch.from_numpy(evidence.arrays["outputs"]) for evidence in kept]
        layers = [layer_of(task, calibrated=False)] * len(kept)
        together = kind_of(task)(layers, [None] * len(kept))(outputs)
        return joined([kept[0]], together.numpy()), "of the val split that all have"
    if are_folds(members):
        return joined(kept), "that one of the folds was not trained on"
    return None


def joined(parts: Sequence[Evidence], outputs: Any = None) -> Evidence:
    """Of all parts; with these outputs, if some are given."""
    labels = np.concatenate([part.labels for part in parts])
    outputs = np.concatenate([part.arrays["outputs"] for part in parts]) if outputs is None else outputs
    return Evidence("val", np.arange(len(labels)), {"outputs": outputs}, labels)


def rows_of_val(member: TrainedModel) -> Rows:
    """Of val_predictions.csv beside a run's best checkpoint, by path; none if it is not there, or not of this one."""
    file = resumed_run_dir(member.file) / "report" / "val_predictions.csv"
    if member.file.name != "best.ckpt" or "temperature" not in member.record.calibration:
        return []
    try:
        rows = sorted(read_csv_file(file), key=lambda row: row["path"])
    except (ConfigError, KeyError) as error:
        log.info("%s cannot be read: %s", file, error)
        return []
    return rows if len(rows) == member.record.calibration.get("images") else []


def has_one_val(members: Sequence[TrainedModel], rows: Sequence[Rows]) -> bool:
    """Whether all were measured on the same images of the same data."""
    same_data = len({member.record.data_fingerprint for member in members}) == 1
    return same_data and all([row["path"] for row in one] == [row["path"] for row in rows[0]] for one in rows)


def are_folds(members: Sequence[TrainedModel]) -> bool:
    """Whether they differ in data.fold, each has another one, and all else about their data is the same."""
    first, folds = members[0].record.config["data"], [member.record.setting("data.fold") for member in members]
    rest = {key: value for key, value in first.items() if key not in ("fold", *WITHOUT_INFLUENCE)}
    others = [member.record.config["data"] for member in members[1:]]
    same = all(rest == {key: one.get(key) for key in rest} for one in others)
    return bool(first.get("folds")) and same and len(set(folds)) == len(folds)


WHAT_IT_TAKES = (
    "Fitting it takes run directories with the probabilities of val (report/val_predictions.csv), of the same val "
    "split or of the folds of one sweep."
)
WITHOUT_INFLUENCE = ("batch_size", "num_workers", "cache", "cache_views", "cache_dir", "cache_gb", "balanced_sampling")


def learn_together(members: Sequence[TrainedModel]) -> dict[str, float]:
    """Calibrate the first one's task as that of all, and say by what; nothing where that cannot be."""
    task = members[0].task
    if task.output_layer().temperature is None:
        return {}
    if (found := evidence_of_val(members)) is None:
        log.warning(
            "No temperature could be fitted anew: the members' own count, and their calibrated probabilities are "
            "averaged. %s", WHAT_IT_TAKES,
        )  # fmt: skip
        return {}
    evidence, words = found
    calibration = task.calibrate_anew(evidence)
    log.info(
        "Temperature %.3f, fitted anew on %s %s", calibration["temperature"], number_of(len(evidence), "image"), words
    )
    return calibration
