"""What several networks together learn from val: of what their runs wrote about it, so that no image is needed."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

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


def combination_of(members: Sequence[TrainedModel], views: int, temperature: float | None) -> Combination:
    """Of the outputs of so many views through each, at this temperature; None = at each member's own."""
    layers = [layer_at(member.task, temperature) for member in members]
    orders = [order_of(member, members[0]) for member in members]
    return kind_of(members[0].task)(layers * views, orders * views)


def kind_of(task: FineTuneTask) -> type[Combination]:
    assert task.combination is not None  # members.py asks
    return task.combination


def layer_at(task: FineTuneTask, temperature: float | None) -> OutputLayer:
    layer = task.output_layer()
    if temperature is not None and layer.temperature is not None:
        layer.temperature = temperature
    return layer


@dataclass(frozen=True)
class ValOutputs:
    """`evidence`: outputs of all members together for images of val, each at `temperature`; `images`: which these are,
    in words.
    """

    evidence: Evidence
    temperature: float
    images: str


def outputs_of_val(members: Sequence[TrainedModel]) -> ValOutputs | None:
    """Of a val split that all have, or of the val splits of folds, of which each image is outside one member's training
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
        return ValOutputs(together(task, kept, 1.0), 1.0, "of the val split that all have")
    if are_folds(members):
        return of_folds(task, joined(kept))
    return None


def of_folds(task: FineTuneTask, pooled: Evidence) -> ValOutputs:
    """With the temperature that fits them: the mean of several is softer than each, so that fitting it to outputs of
    single ones and using it for the mean would be too much (digits, five folds: loss 0.0314 instead of 0.0300).
    """
    temperature = task.calibrate_anew(pooled)["temperature"]
    return ValOutputs(together(task, [pooled], temperature), temperature, "that one of the folds was not trained on")


def together(task: FineTuneTask, parts: Sequence[Evidence], temperature: float) -> Evidence:
    """Of the same images, by several members with their classes in one order."""
    outputs = [torch.from_numpy(part.arrays["outputs"]) for part in parts]
    combination = kind_of(task)([layer_at(task, temperature)] * len(parts), [None] * len(parts))
    return replace(parts[0], arrays={"outputs": combination(outputs).numpy()}, memo={})


def joined(parts: Sequence[Evidence]) -> Evidence:
    """Of all images."""
    labels, outputs = (np.concatenate(arrays) for arrays in
                       ([part.labels for part in parts], [part.arrays["outputs"] for part in parts]))  # fmt: skip
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


def learn_together(members: Sequence[TrainedModel]) -> tuple[dict[str, float], float | None]:
    """Calibrate the first one's task as that of all, and say by what: `calibration` of the record, and the temperature
    of each member. Nothing and None where that cannot be: then the members' own count, and the thresholds' mean.
    """
    task = members[0].task
    found = None if task.output_layer().temperature is None else outputs_of_val(members)
    if found is None:
        if task.output_layer().temperature is not None:
            log.warning(
                "No temperature could be fitted anew: the members' own count, and their calibrated probabilities are "
                "averaged. %s", WHAT_IT_TAKES,
            )  # fmt: skip
        return {}, None
    calibration, images = task.calibrate_anew(found.evidence), number_of(len(found.evidence), "image")
    fitted = calibration["temperature"] * found.temperature
    log.info("Temperature %.3f, fitted anew on %s %s", fitted, images, found.images)
    return calibration, found.temperature
