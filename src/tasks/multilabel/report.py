"""The report about a model that names any number of classes per image."""

import numpy as np
import numpy.typing as npt
import torch

from src.data.table import ImageTable
from src.evaluation.calibration import Floats
from src.evaluation.class_scores import Ranking, class_scores
from src.evaluation.evidence import Evidence
from src.evaluation.intervals import Interval, bootstrap
from src.reports.charts import draw_precision_recall
from src.reports.parts import html_table, image_cards, section
from src.reports.run_report import RunReport, Tables, TaskWords
from src.tasks.calibration_section import Calibrated, calibration_section, probabilities_of
from src.tasks.multilabel.task import MultilabelTask

Bools = npt.NDArray[np.bool_]
HEADLINE = ["map", "f1_macro", "f1_micro", "ece"]
EXPORTED = HEADLINE[:2]
MISTAKES = 24
CURVES = 12


def words(class_names: list[str]) -> TaskWords:
    does = f"says which of {len(class_names)} classes, any number of them, an image shows"
    return TaskWords(does, "classes", "image-classification", "image-classification")


def answered(task: MultilabelTask, evidence: Evidence) -> Bools:
    """[N, K]: which classes the model names."""
    raw_NK = torch.sigmoid(torch.from_numpy(evidence.arrays["outputs"]))
    shown_NK: Bools = (raw_NK >= task.thresholds_K.cpu()).numpy()
    return shown_NK


def intervals(task: MultilabelTask, evidence: Evidence) -> dict[str, Interval]:
    """Of map, f1_macro and f1_micro (as in metrics.py)."""
    labels_NK, shown_NK = evidence.labels > 0, answered(task, evidence)
    ranking, right_NK = Ranking(evidence.arrays["outputs"], labels_NK), labels_NK & shown_NK

    def measure(weights_N: Floats) -> dict[str, float]:
        right_K, true_K, shown_K = weights_N @ right_NK, weights_N @ labels_NK, weights_N @ shown_NK
        used_K = true_K > 0
        return {
            "map": ranking.average_precision(weights_N)[used_K].mean(),
            "f1_macro": class_scores(right_K, true_K, shown_K).f1[used_K].mean(),
            "f1_micro": 2 * right_K.sum() / max(true_K.sum() + shown_K.sum(), 1e-12),
        }

    return bootstrap(measure, len(evidence), evidence.groups_N)


def tables(task: MultilabelTask, table: ImageTable, evidence: Evidence) -> Tables:
    """None beside the page."""
    return {}


def sections(report: RunReport, task: MultilabelTask) -> list[str]:
    """Classes, precision by recall, calibration, the worst mistakes; of the split that is looked at closely."""
    evidence = report.measured[-1]
    probabilities_NK, shown_NK = probabilities_of(task, evidence), answered(task, evidence)
    scores_N = task.ood_scores(evidence.arrays["outputs"])
    notes = [
        "Each class of each image is an answer; a bar says how many of those with about this probability are there. "
        "Thresholds are converted along with the probabilities.",
        "<code>ood_score</code> in predictions.csv is the joint energy of the logits: the higher, the less an image "
        f"excites any class. Here 1 % lie above {np.percentile(scores_N, 99):.2f}. It does not tell every unusual "
        "image.",
    ]
    return [
        classes_section(task, evidence, shown_NK),
        curves_section(report, evidence),
        mistakes_section(report, evidence, probabilities_NK, shown_NK),
        calibration_section(report, Calibrated.of(task, evidence), notes),
    ]


def classes_section(task: MultilabelTask, evidence: Evidence, shown_NK: Bools) -> str:
    labels_NK = evidence.labels > 0
    right_K, true_K, shown_K = (x.sum(axis=0) for x in (labels_NK & shown_NK, labels_NK, shown_NK))
    scores, thresholds_K = class_scores(right_K, true_K, shown_K), task.output_layer().thresholds or []
    average_K = Ranking(evidence.arrays["outputs"], labels_NK).average_precision()
    rows = [
        [name, f"{average_K[k]:.4f}" if true_K[k] else "", *scores.texts(k), f"{thresholds_K[k]:.3f}", f"{true_K[k]}",
         f"{shown_K[k]}"]
        for k, name in enumerate(task.class_names)
    ]  # fmt: skip
    columns = ["class", "average precision", "precision", "recall", "F1", "threshold", "images", "answered"]
    return section("Precision, recall and F1 per class", html_table(columns, rows, sortable=True))


def curves_section(report: RunReport, evidence: Evidence) -> str:
    labels_NK, names, scores_NK = evidence.labels > 0, report.table.class_names, evidence.arrays["outputs"]
    recall_N1, precision_N1 = Ranking(scores_NK.reshape(-1, 1), labels_NK.reshape(-1, 1)).recall_precision()
    recall_NK, precision_NK = Ranking(scores_NK, labels_NK).recall_precision()
    common = sorted(np.argsort(-labels_NK.sum(axis=0), kind="stable")[:CURVES].tolist())
    curves = [("all classes together", recall_N1[:, 0], precision_N1[:, 0])]
    curves += [(names[k], recall_NK[:, k], precision_NK[:, k]) for k in common]
    more = f"<p>Lines of the {CURVES} most common classes.</p>" if len(names) > CURVES else ""
    figure = report.figure("report/precision_recall", draw_precision_recall(curves), "Precision by recall")
    return section("Precision-recall curves", more, figure)


def mistakes_section(report: RunReport, evidence: Evidence, probabilities_NK: Floats, shown_NK: Bools) -> str:
    """Images by how confident the model was in its worst wrong decision."""
    labels_NK, names = evidence.labels > 0, report.table.class_names
    doubt_NK = np.where(labels_NK, 1 - probabilities_NK, probabilities_NK) * (labels_NK != shown_NK)
    wrong = np.flatnonzero((labels_NK != shown_NK).any(axis=1))
    wrong = wrong[np.argsort(-doubt_NK[wrong].max(axis=1), kind="stable")]
    cards = []
    for n in wrong[:MISTAKES].tolist():
        answer = "; ".join(f"{names[k]} {probabilities_NK[n, k]:.2f}" for k in np.flatnonzero(shown_NK[n])) or "nothing"
        absent = np.flatnonzero(labels_NK[n] & ~shown_NK[n])
        missed = "; ".join(f"{names[k]} {probabilities_NK[n, k]:.2f}" for k in absent)
        cards.append((int(evidence.rows_N[n]), answer, False, f"missed: {missed}" if missed else ""))
    count = f"<p>Images with a class too many or too few: {len(wrong):,} of {len(labels_NK):,}.</p>"
    return section("Worst mistakes", count, image_cards(report.table, cards))
