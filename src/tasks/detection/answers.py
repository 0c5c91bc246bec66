"""What a detector's answers are worth: its boxes with calibrated scores, matched with the true ones.

Shapes: N images, D detections, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

import numpy as np

from src.evaluation.boxes.calibration import ScoreCalibration, fit_score_calibration
from src.evaluation.boxes.mask_overlaps import MaskMeasure
from src.evaluation.boxes.matches import Floats, Matches, Singles, TrueBoxes
from src.evaluation.boxes.matching import match
from src.evaluation.boxes.precision_recall import best_thresholds
from src.evaluation.evidence import Evidence
from src.tasks.detection.export import DetectionOutputs
from src.tasks.detection.prediction import DEFAULT_THRESHOLD
from src.training.output_layer import OutputLayer

SLOPE, SHIFT, THRESHOLD = "score_slope", "score_shift", "threshold_"  # in `calibration` of a checkpoint
CLOSEST = 1e-6  # of a score to 0 and 1, as DetectionOutputs has it


@dataclass(frozen=True)
class BoxAnswers:
    """`raw`: matches with the scores that the network gives; `matches`: the same, with calibrated ones.

    `thresholds_K`: calibrated scores from which on a box of a class is an answer.
    """

    raw: Matches
    matches: Matches
    thresholds_K: Floats

    @classmethod
    def of(cls, evidence: Evidence, layer: DetectionOutputs) -> "BoxAnswers":
        """Of what DetectionTask keeps. `layer` calibrates and has the thresholds; 0.5 if it has none."""
        raw = match_evidence(evidence, len(layer.class_names))
        thresholds = layer.thresholds or [DEFAULT_THRESHOLD] * len(layer.class_names)
        calibration = ScoreCalibration(layer.slope, layer.shift)
        return cls(raw, with_calibrated_scores(raw, calibration), np.array(thresholds, dtype=np.float64))

    @cached_property
    def accepted(self) -> Matches:
        """The boxes alone that are answers."""
        return self.matches.accepted(self.thresholds_K)


def match_evidence(evidence: Evidence, classes: int) -> Matches:
    """As `match` does, of what the task keeps; the scores are the network's. Masks, where they are kept, are matched in
    the place of their boxes. Once: thresholds, metrics, intervals and sections all ask for it.
    """
    if "masks" not in evidence.arrays:
        return match_boxes(evidence, classes)
    if "matches" not in evidence.memo:
        measure = MaskMeasure(evidence.arrays["masks"], evidence.labels.crops)
        evidence.memo["matches"] = match(evidence.arrays["detections"], truth_of(evidence), classes, measure)
    found: Matches = evidence.memo["matches"]
    return found


def match_boxes(evidence: Evidence, classes: int) -> Matches:
    if "box_matches" not in evidence.memo:
        evidence.memo["box_matches"] = match(evidence.arrays["detections"], truth_of(evidence), classes)
    found: Matches = evidence.memo["box_matches"]
    return found


def truth_of(evidence: Evidence) -> TrueBoxes:
    return true_boxes([evidence.labels.rows_of(n) for n in range(len(evidence))])


def true_boxes(truth: Sequence[Singles]) -> TrueBoxes:
    """Of images with x1, y1, x2, y2, class id and 1 for a crowd, float32 [m, 6] each."""
    rows_M6 = np.concatenate([np.empty((0, 6), dtype=np.float32), *truth])
    counts_N = np.array([len(one) for one in truth], dtype=np.int64)
    return TrueBoxes(counts_N, rows_M6[:, :4], rows_M6[:, 4].astype(np.int64), rows_M6[:, 5] > 0)


def with_calibrated_scores(matches: Matches, calibration: ScoreCalibration) -> Matches:
    """It keeps the order of the scores, so all else stays."""
    scores_D = np.clip(matches.score_D.astype(np.float64), CLOSEST, 1 - CLOSEST)
    return replace(matches, score_D=calibration(scores_D).astype(np.float32))


def fitted_calibration(val: Evidence, class_names: list[str]) -> dict[str, float]:
    """What val teaches: slope and shift of the scores, and of each class the threshold with the best F1 at IoU 0.5.

    Where val has nothing to find, scores stay as trained: whatever is predicted there is wrong.
    """
    matches = match_evidence(val, len(class_names))
    found = fit_score_calibration(matches) if matches.countable().any() else ScoreCalibration()
    # Rounded as predictions compare them.
    thresholds_K = best_thresholds(with_calibrated_scores(matches, found)).astype(np.float32)
    values = {SLOPE: found.slope, SHIFT: found.offset, "images": float(len(val))}
    return values | {f"{THRESHOLD}{k}": value for k, value in enumerate(thresholds_K.tolist())}


def calibrated_layer(
    class_names: list[str], calibration: dict[str, float], kind: type[DetectionOutputs] = DetectionOutputs
) -> DetectionOutputs:
    """With what a checkpoint carries; as trained and without thresholds if that is nothing."""
    if SLOPE not in calibration:
        return kind(class_names, None)
    thresholds = [calibration.get(f"{THRESHOLD}{k}", DEFAULT_THRESHOLD) for k in range(len(class_names))]
    return kind(class_names, thresholds, calibration[SLOPE], calibration.get(SHIFT, 0.0))


def calibration_of_means(class_names: list[str], layers: Sequence[OutputLayer]) -> dict[str, float]:
    """For scores that are calibrated already: the mean of several detectors' thresholds, by the classes' names."""
    found = [layer.thresholds or [DEFAULT_THRESHOLD] * len(class_names) for layer in layers]
    by_name = [dict(zip(layer.class_names, values, strict=True)) for layer, values in zip(layers, found, strict=True)]
    means = [fmean(one[name] for one in by_name) for name in class_names]
    return {SLOPE: 1.0, SHIFT: 0.0, **{f"{THRESHOLD}{k}": value for k, value in enumerate(means)}}
