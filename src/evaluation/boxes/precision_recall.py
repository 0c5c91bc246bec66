"""Precision and recall of each class at IoU 0.5: the curve over all scores, and the score from which on to believe it.

Shapes: K classes, D detections, S different scores of one class. Ignored detections are left out everywhere.
"""

from dataclasses import dataclass

import numpy as np

from src.evaluation.boxes.average_precision import RECALLS, ROUNDING, mean_of_known
from src.evaluation.boxes.matches import IGNORED, RIGHT, Floats, Matches
from src.evaluation.class_scores import TINY, ClassScores, class_scores

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Curve:
    """Precision and recall [S] if all boxes of a class that score at least `score_S` are accepted; higher is better.

    Scores fall; equal ones are accepted together. Recall is 0 where there is no true box.
    """

    score_S: Floats
    precision_S: Floats
    recall_S: Floats

    @property
    def f1(self) -> Floats:
        """Harmonic mean of precision and recall, 0..1, higher is better."""
        product: Floats = 2 * self.precision_S * self.recall_S
        f1_S: Floats = product / np.maximum(self.precision_S + self.recall_S, TINY)
        return f1_S


def curves(matches: Matches) -> list[Curve]:
    """Of each class [K]; empty where nothing was predicted."""
    rows = np.flatnonzero(matches.verdicts() != IGNORED)
    rows = rows[np.lexsort((-matches.score_D[rows], matches.class_D[rows]))]
    true_K = matches.true_counts()
    ends_K = np.searchsorted(matches.class_D[rows], np.arange(matches.classes + 1))
    found = []
    for k in range(matches.classes):
        mine = rows[ends_K[k] : ends_K[k + 1]]
        score = matches.score_D[mine].astype(np.float64)
        last_S = np.flatnonzero(np.diff(score, append=-np.inf))
        right_S = np.cumsum(matches.verdicts()[mine] == RIGHT)[last_S]
        found.append(Curve(score[last_S], right_S / (last_S + 1), right_S / max(true_K[k], TINY)))
    return found


def mean_curve(of_classes: list[Curve], true_K: Floats) -> Floats:
    """Precision at the 101 recalls 0, 0.01, ..., 1, the best at that recall or a higher one [101]: the mean of the
    classes with true boxes, whose mean in turn is AP50 but for rounding. Zeros if there are none.
    """
    known = [curve for curve, count in zip(of_classes, true_K.tolist(), strict=True) if count]
    total = np.zeros(len(RECALLS))
    for curve in known:
        best_S = np.append(np.maximum.accumulate(curve.precision_S[::-1])[::-1], 0.0)
        total += best_S[np.searchsorted(curve.recall_S, RECALLS - ROUNDING)]
    return total / max(len(known), 1)


def best_thresholds(matches: Matches) -> Floats:
    """For each class the score with the best F1 at IoU 0.5 [K], in the middle between the lowest score that is accepted
    and the highest that is not (0 if all are accepted); of equal F1 the higher score.

    A class in which nothing is right (no true boxes, no detections, or none of them found) gets the mean of the others,
    and all get 0.5 if there is none.
    """
    threshold_K = np.full(matches.classes, np.nan)
    for k, curve in enumerate(curves(matches)):
        if curve.f1.any():
            best = int(np.argmax(curve.f1))
            threshold_K[k] = np.append(curve.score_S, 0.0)[best : best + 2].mean()
    others = DEFAULT_THRESHOLD if np.isnan(threshold_K).all() else mean_of_known(threshold_K)
    return np.where(np.isnan(threshold_K), others, threshold_K)


def scores_of(accepted: Matches, weights_N: Floats | None = None) -> ClassScores:
    """Precision, recall and F1 of each class at IoU 0.5 if these detections are what is answered (`Matches.accepted`).

    `images` of the result are true boxes. Weights say how often each image counts.
    """
    weights_N = np.ones(accepted.images) if weights_N is None else weights_N
    weights_D = weights_N[accepted.image_D]
    right, counted = (
        np.bincount(accepted.class_D[kept], weights_D[kept], accepted.classes)
        for kept in (accepted.verdicts() == RIGHT, accepted.verdicts() != IGNORED)
    )
    return class_scores(right, accepted.true_counts(weights_N), counted)


def mean_scores(accepted: Matches, weights_N: Floats | None = None) -> dict[str, float]:
    """`precision`, `recall`, `f1`: means of the classes with true boxes, higher is better; NaN if there are none."""
    scores = scores_of(accepted, weights_N)
    there_K = scores.images > 0
    columns = {"precision": scores.precision, "recall": scores.recall, "f1": scores.f1}
    return {name: mean_of_known(values[there_K]) for name, values in columns.items()}
