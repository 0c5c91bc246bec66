"""Several checkpoints, or several views of an image through one, opened for use as if they were one."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from src.build.ensemble_calibration import combination_of, learn_together
from src.build.members import require_agreement
from src.build.trained_model import TrainedModel
from src.build.views import loaded_for, require_views, views_of
from src.settings.checkpoints import find_checkpoints

log = logging.getLogger(__name__)


def open_model(
    ckpt: str | Sequence[str],
    accelerator: str = "cpu",
    trust: bool = False,
    evaluate: bool = False,
    tta: str | None = None,
) -> TrainedModel:
    """What a checkpoint holds, or several together: as of `TrainedModel.open`; `tta`: which views of an image it sees.

    Several answer by the mean of their probabilities (or numbers), and so do views. Raises ConfigError also if they
    cannot answer together, and for views that are not right for their data.
    """
    members = [TrainedModel.open(str(file), accelerator, trust, evaluate) for file in find_checkpoints(ckpt)]
    if len(members) == 1 and tta is None:
        return members[0]
    require_agreement(members)
    require_views(tta, members)
    return combined(members, tta)


def combined(members: Sequence[TrainedModel], tta: str | None) -> TrainedModel:
    """The first one's task and record, with a network of all."""
    first = members[0]
    task, record = first.task, loaded_for(tta, first.record)
    # A single one's temperature counts for the mean of its views.
    temperature = None if task.output_layer().temperature is None else 1.0
    if len(members) > 1:
        calibration, temperature = learn_together(members)
        record = replace(record, calibration=calibration)
    views = views_of(tta, first.preprocessing, record.preprocessing)
    combination = combination_of(members, len(views), temperature)
    if temperature is None:
        task.take_thresholds([member.task.output_layer() for member in members])
    networks = [member.task.model for member in members]
    task.model = task.combined_network(networks, views, combination, record.preprocessing)
    task.record = record
    together = replace(first, record=record, members=tuple(members))
    together.task.to(first.device).eval()
    log.info("Answers are the mean of %s", what_answers(members, len(views)))
    return together


def what_answers(members: Sequence[TrainedModel], views: int) -> str:
    files = ", ".join(str(member.file) for member in members)
    several = f"{len(members)} checkpoints ({files})" if len(members) > 1 else files
    return several if views == 1 else f"{views} views of each image by {several}"
