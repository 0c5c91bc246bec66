"""What is said where AP cannot be measured, or is 0, of all boxes or of a class."""

import logging
import math

import numpy as np

from src.data.boxes import Boxes
from src.evaluation.boxes.average_precision import metrics_per_class
from src.evaluation.boxes.matches import ALL, RIGHT, Matches
from src.evaluation.boxes.zero_reasons import why_class_is_zero, why_zero
from src.evaluation.evidence import Evidence
from src.settings.errors import ConfigError
from src.settings.plurals import number_of
from src.tasks.detection.answers import match_evidence
from src.tasks.detection.metrics import BoxMetrics

log = logging.getLogger(__name__)

TOLD_CLASSES = 5


def require_measurable(monitor: str, val: Boxes, metric: str | None = None) -> None:
    """Raise ConfigError if these true boxes leave the metric undefined, whatever is predicted. `metric`: of BoxMetrics,
    if the monitored one has another name.
    """
    nothing = np.zeros((len(val), 0, 6), dtype=np.float32)
    matches = match_evidence(Evidence("val", np.arange(len(val)), {"detections": nothing}, val), len(val.names))
    if math.isnan(BoxMetrics.measure(matches).get(metric or monitor.removeprefix("val/"), 0.0)):
        raise ConfigError(
            f"task.monitor='{monitor}' cannot be measured: none of the {len(val):,} images of val has a box that "
            "counts for it. Put images with boxes into val (data.val_fraction, or the data's own split), or monitor "
            "the loss: task.monitor=val/loss task.mode=min."
        )


def is_zero(matches: Matches) -> bool:
    """There are boxes to be found, and none is."""
    return bool(matches.countable().any() and not (matches.verdict_DAT[:, ALL] == RIGHT).any())


def warn_of_zeros(matches: Matches, class_names: list[str], metric: str = "ap") -> None:
    """Of the final weights on val."""
    if is_zero(matches):
        log.warning("val/%s is 0: %s.", metric, why_zero(matches))
        return
    zeros = np.flatnonzero(metrics_per_class(matches)["ap"] == 0).tolist()
    for k in zeros[:TOLD_CLASSES]:
        log.warning("AP of the class '%s' is 0 on val: %s.", class_names[k], why_class_is_zero(matches, k, class_names))
    if len(zeros) > TOLD_CLASSES:
        more = number_of(len(zeros) - TOLD_CLASSES, "more class", "more classes")
        log.warning("AP of %s is 0 on val: the report has all.", more)
