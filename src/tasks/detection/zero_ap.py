"""What the log says where AP is 0, of all boxes or of a class."""

import logging

import numpy as np

from src.evaluation.boxes.average_precision import metrics_per_class
from src.evaluation.boxes.matches import ALL, RIGHT, Matches
from src.evaluation.boxes.zero_reasons import why_class_is_zero, why_zero

log = logging.getLogger(__name__)

TOLD_CLASSES = 5


def is_zero(matches: Matches) -> bool:
    """There are boxes to be found, and none is."""
    return bool(matches.countable().any() and not (matches.verdict_DAT[:, ALL] == RIGHT).any())


def warn_of_zeros(matches: Matches, class_names: list[str]) -> None:
    """Of the final weights on val."""
    if is_zero(matches):
        log.warning("val/ap is 0: %s.", why_zero(matches))
        return
    zeros = np.flatnonzero(metrics_per_class(matches)["ap"] == 0).tolist()
    for k in zeros[:TOLD_CLASSES]:
        log.warning("AP of the class '%s' is 0 on val: %s.", class_names[k], why_class_is_zero(matches, k, class_names))
    if len(zeros) > TOLD_CLASSES:
        log.warning("AP of %d more classes is 0 on val: the report lists them.", len(zeros) - TOLD_CLASSES)
