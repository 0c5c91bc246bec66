"""Sections of the page about a model that names any number of classes per image."""

import numpy as np
import numpy.typing as npt
import torch

from src.evaluation import analysis
from src.evaluation.calibration import Floats, reliability, to_probabilities
from src.reports.charts import draw_precision_recall, draw_reliability
from src.reports.parts import html_table
from src.reports.run import RunReport, image_cards, section
from src.runs.results import SplitOutputs
from src.tasks.multilabel.task import MultilabelTask

HEADLINE = ["map", "f1_macro", "f1_micro", "ece"]
MISTAKES = 24
CURVES = 12


def answered(report: RunReport, outputs: SplitOutputs) -> npt.NDArray[np.bool_]:
    """[N, K]: which classes the model names."""
    assert isinstance(report.task, MultilabelTask)
    raw_NK = to_probabilities(outputs.outputs_NK.astype(np.float64), False)
    shown_NK: npt.NDArray[np.bool_] = raw_NK >= report.task.thresholds_K.cpu().numpy()
    return shown_NK


def calibrated(report: RunReport, outputs: SplitOutputs) -> Floats:
    return to_probabilities(outputs.outputs_NK.astype(np.float64) / report.task.temperature, False)


def add_intervals(report: RunReport) -> None:
    for outputs in report.measured:
        shown_NK = answered(report, outputs)
        found = analysis.multilabel_intervals(calibrated(report, outputs), outputs.labels, shown_NK, outputs.groups)
        report.intervals |= {f"{outputs.split}/{name}": interval for name, interval in found.items()}


def sections(report: RunReport) -> list[str]:
    """Classes, precision by recall, calibration, the worst mistakes; of the split that is looked at closely."""
    outputs = report.measured[-1]
    probabilities_NK, shown_NK = calibrated(report, outputs), answered(report, outputs)
    return [
        classes_section(report, outputs, shown_NK),
        curves_section(report, outputs, probabilities_NK),
        mistakes_section(outputs, probabilities_NK, shown_NK),
        calibration_section(report, outputs, probabilities_NK),
    ]


def classes_section(report: RunReport, outputs: SplitOutputs, shown_NK: npt.NDArray[np.bool_]) -> str:
    assert isinstance(report.task, MultilabelTask)
    labels_NK = outputs.labels > 0
    right_K, true_K, shown_K = (x.sum(axis=0).astype(np.int64) for x in (labels_NK & shown_NK, labels_NK, shown_NK))
    scores = analysis.class_scores(right_K, true_K, shown_K)
    thresholds_K = report.task.output_layer().thresholds or []
    average_K = average_precisions(outputs)
    rows = [
        [name, f"{average_K[k]:.4f}" if true_K[k] else "", f"{scores.precision[k]:.4f}", f"{scores.recall[k]:.4f}",
         f"{scores.f1[k]:.4f}", f"{thresholds_K[k]:.3f}", f"{true_K[k]}", f"{shown_K[k]}"]
        for k, name in enumerate(outputs.table.class_names)
    ]  # fmt: skip
    columns = ["class", "average precision", "precision", "recall", "F1", "threshold", "images", "answered"]
    return section("Classes", html_table(columns, rows, sortable=True))


def recall_precision(scores_N: Floats, labels_N: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Recall and precision [N] of the best 1, 2, ... N images by their score."""
    hits_N = np.cumsum(labels_N[np.argsort(-scores_N, kind="stable")])
    return hits_N / max(int(labels_N.sum()), 1), hits_N / np.arange(1, len(scores_N) + 1)


def average_precisions(outputs: SplitOutputs) -> Floats:
    """[K], 0..1; 0 for classes that no image shows."""
    values = []
    for k in range(outputs.outputs_NK.shape[1]):
        recall_N, precision_N = recall_precision(outputs.outputs_NK[:, k].astype(np.float64), outputs.labels[:, k] > 0)
        values.append(float((np.diff(recall_N, prepend=0.0) * precision_N).sum()))
    return np.array(values)


def curves_section(report: RunReport, outputs: SplitOutputs, probabilities_NK: Floats) -> str:
    labels_NK, names = outputs.labels > 0, outputs.table.class_names
    curves = [("all classes together", *recall_precision(probabilities_NK.ravel(), labels_NK.ravel()))]
    common = np.argsort(-labels_NK.sum(axis=0), kind="stable")[:CURVES]
    curves += [(names[k], *recall_precision(probabilities_NK[:, k], labels_NK[:, k])) for k in sorted(common.tolist())]
    more = f"<p>Lines of the {CURVES} commonest classes.</p>" if len(names) > CURVES else ""
    image = draw_precision_recall(curves)
    return section("Precision by recall", more, report.figure("report/precision_recall", image, "Precision by recall"))


def mistakes_section(outputs: SplitOutputs, probabilities_NK: Floats, shown_NK: npt.NDArray[np.bool_]) -> str:
    """Images by how sure the model was of its worst wrong decision."""
    labels_NK, names = outputs.labels > 0, outputs.table.class_names
    doubt_NK = np.where(labels_NK, 1 - probabilities_NK, probabilities_NK) * (labels_NK != shown_NK)
    wrong = np.flatnonzero((labels_NK != shown_NK).any(axis=1))
    wrong = wrong[np.argsort(-doubt_NK[wrong].max(axis=1), kind="stable")]
    cards = []
    for n in wrong[:MISTAKES].tolist():
        answer = "; ".join(f"{names[k]} {probabilities_NK[n, k]:.2f}" for k in np.flatnonzero(shown_NK[n])) or "nothing"
        absent = np.flatnonzero(labels_NK[n] & ~shown_NK[n])
        missed = "; ".join(f"{names[k]} {probabilities_NK[n, k]:.2f}" for k in absent)
        cards.append((int(outputs.rows_N[n]), answer, False, f"missed: {missed}" if missed else ""))
    count = f"<p>{len(wrong):,} of {len(labels_NK):,} images have at least one class too many or too few.</p>"
    return section("Mistakes", count, image_cards(outputs.table, cards))


def calibration_section(report: RunReport, outputs: SplitOutputs, probabilities_NK: Floats) -> str:
    before = reliability(to_probabilities(outputs.outputs_NK.astype(np.float64), False), outputs.labels)
    after = reliability(probabilities_NK, outputs.labels)
    scores_N = report.task.ood_scores(torch.from_numpy(outputs.outputs_NK)).numpy()
    note = (
        f"<p>Temperature {report.task.temperature:.3f}, fitted on val. Each class of each image is an answer; a bar "
        "says how many of those with about this probability are there. Expected calibration error (15 bins of equal "
        f"width): {before.expected_error:.4f} as trained, {after.expected_error:.4f} calibrated. Thresholds are "
        "converted, so the predictions stay the same.</p>"
        "<p><code>ood_score</code> in predictions.csv is the joint energy of the logits: the higher, the less a "
        f"image excites any class. Here 1 % lie above {np.percentile(scores_N, 99):.2f}. It does not tell every "
        "strange image.</p>"
    )
    image = draw_reliability(before, after)
    title = "Can the probabilities be believed?"
    return section(title, note, report.figure("report/reliability", image, "Reliability"))
