"""The report's sections about single classes of a detector: a table, and precision by recall."""

import math
from collections.abc import Iterable

import numpy as np

from src.evaluation.boxes.average_precision import RECALLS, metrics_per_class
from src.evaluation.boxes.precision_recall import curves, mean_curve, scores_of
from src.evaluation.evidence import Evidence
from src.reports.charts import draw_precision_recall
from src.reports.parts import html_table, section
from src.reports.run_report import RunReport
from src.tasks.detection.answers import BoxAnswers

CLASS_COLUMNS = ["class", "ap", "ap50", "precision", "recall", "f1", "threshold", "boxes", "images", "answers"]
CURVES = 12
UNKNOWN = ""


def numbers(values: Iterable[float]) -> list[str]:
    return [UNKNOWN if math.isnan(value) else f"{value:.4f}" for value in values]


def class_rows(evidence: Evidence, answers: BoxAnswers, class_names: list[str]) -> list[list[str]]:
    """Of each class; precision where there are answers, the others where there are true boxes."""
    per_class, accepted = metrics_per_class(answers.raw), answers.accepted
    scores, boxes_K = scores_of(accepted), accepted.true_counts().astype(int)
    answered_K = np.bincount(accepted.class_D, minlength=accepted.classes)
    images_K = evidence.labels.counts(np.arange(len(evidence)))
    rows = []
    for k, name in enumerate(class_names):
        precision = scores.precision[k] if answered_K[k] else math.nan
        recall, f1 = (scores.recall[k], scores.f1[k]) if boxes_K[k] else (math.nan, math.nan)
        values = numbers([per_class["ap"][k], per_class["ap50"][k], precision, recall, f1])
        counts = (str(counts_K[k]) for counts_K in (boxes_K, images_K, answered_K))
        rows.append([name, *values, f"{answers.thresholds_K[k]:.3f}", *counts])
    return rows


def classes_section(evidence: Evidence, answers: BoxAnswers, class_names: list[str]) -> str:
    columns = ["class", "AP", "AP50", "precision", "recall", "F1", "threshold", "boxes", "images", "answers"]
    note = (
        "<p>AP: the mean over IoU 0.5, 0.55 to 0.95, of all boxes that the network finds, whatever their scores, up to "
        f"{evidence.arrays['detections'].shape[1]:,} per image. "
        "Precision, recall and F1: at IoU 0.5, of the boxes whose calibrated score is at least the threshold of their "
        "class; these are the answers of predict, export and serve. Thresholds were chosen on val for the best F1. "
        "Boxes: true ones, without crowds and difficult ones; images: that show the class.</p>"
    )
    rows = class_rows(evidence, answers, class_names)
    return section("Average precision, precision and recall per class", note, html_table(columns, rows, sortable=True))


def curves_section(report: RunReport, answers: BoxAnswers, class_names: list[str]) -> str:
    """At IoU 0.5; a dot where the threshold of the class lies."""
    true_K, of_classes, scores = answers.matches.true_counts(), curves(answers.matches), scores_of(answers.accepted)
    known = np.flatnonzero(true_K)
    if not len(known):
        return ""
    common = sorted(known[np.argsort(-true_K[known], kind="stable")][:CURVES].tolist())
    lines = [] if len(known) == 1 else [("mean of the classes", RECALLS, mean_curve(of_classes, true_K))]
    lines += [
        (class_names[k], of_classes[k].recall_S, of_classes[k].precision_S)
        for k in common
        if len(of_classes[k].score_S)
    ]
    if not lines:
        return ""
    points = {class_names[k]: (float(scores.recall[k]), float(scores.precision[k])) for k in common}
    image = draw_precision_recall(lines, points)
    more = f" Lines of the {CURVES} classes with most boxes, and the mean of all." if len(known) > CURVES else ""
    note = f"<p>At IoU 0.5, over all scores. A dot: at the threshold of the class.{more}</p>"
    figure = report.figure("report/precision_recall", image, "Precision by recall")
    return section("Precision-recall curves", note, figure)
