"""The report about a classifier: one class per image."""

import numpy as np

from src.data.table import ImageTable
from src.evaluation.calibration import BINS, Floats, abstaining, accuracy_by_coverage
from src.evaluation.class_scores import class_scores
from src.evaluation.confusion import ConfusionCounts, count_confusions
from src.evaluation.evidence import Evidence
from src.evaluation.intervals import Interval, bootstrap, wilson_interval
from src.reports.charts import draw_coverage
from src.reports.parts import html_table, section, share_text
from src.reports.run_report import RunReport, Tables, TaskWords
from src.tasks.calibration_section import Calibrated, calibration_section, probabilities_of
from src.tasks.classification.mistakes import Answers, mistakes_section, pairs_section, unusual_section
from src.tasks.classification.task import ClassificationTask
from src.tasks.confusion_section import confusion_section

HEADLINE = ["acc", "balanced_acc", "f1", "ece"]
EXPORTED = HEADLINE[:1]


def words(class_names: list[str]) -> TaskWords:
    does = f"says which of {len(class_names)} classes an image shows"
    return TaskWords(does, "classes", "image-classification", "image-classification")


def intervals(task: ClassificationTask, evidence: Evidence) -> dict[str, Interval]:
    """Of acc, balanced_acc, f1 (as in metrics.py), ece and brier."""
    labels_N, probabilities_NK = evidence.labels, probabilities_of(task, evidence)
    classes = probabilities_NK.shape[1]
    confidences_N, predicted_N = probabilities_NK.max(axis=1), probabilities_NK.argmax(axis=1)
    right_N = predicted_N == labels_N
    true_N = probabilities_NK[np.arange(len(labels_N)), labels_N]
    squared_N = np.square(probabilities_NK).sum(axis=1) - 2 * true_N + 1  # the Brier score of each image
    bins_N = np.minimum((confidences_N * BINS).astype(np.int64), BINS - 1)

    def measure(weights_N: Floats) -> dict[str, float]:
        total = weights_N.sum()
        right_K = np.bincount(labels_N[right_N], weights=weights_N[right_N], minlength=classes)
        true_K = np.bincount(labels_N, weights=weights_N, minlength=classes)
        predicted_K = np.bincount(predicted_N, weights=weights_N, minlength=classes)
        scores = class_scores(right_K, true_K, predicted_K)
        gaps = np.bincount(bins_N, weights=weights_N * (confidences_N - right_N), minlength=BINS)
        return {
            "acc": right_K.sum() / total,
            "balanced_acc": scores.recall[true_K > 0].mean(),
            "f1": scores.f1[true_K + predicted_K > 0].mean(),
            "ece": np.abs(gaps).sum() / total,
            "brier": (weights_N * squared_N).sum() / total,
        }

    found = bootstrap(measure, len(labels_N), evidence.groups_N)
    if right_N.all() or not right_N.any():
        found["acc"] = wilson_interval(int(right_N.sum()), len(labels_N))
    return found


def confusions_of(task: ClassificationTask, evidence: Evidence) -> ConfusionCounts:
    predicted_N = evidence.arrays["outputs"].argmax(axis=1).astype(np.int64)
    return count_confusions(predicted_N, evidence.labels, len(task.class_names))


def tables(task: ClassificationTask, table: ImageTable, evidence: Evidence) -> Tables:
    """Of test precision, recall, F1 and number of images of each class."""
    if evidence.split != "test":
        return {}
    return {"classes": (["class", "precision", "recall", "f1", "images"], class_rows(task, evidence))}


def class_rows(task: ClassificationTask, evidence: Evidence) -> list[list[str]]:
    confusions = confusions_of(task, evidence)
    scores = class_scores(confusions.right_counts, confusions.true_counts, confusions.predicted_counts)
    return [[name, *scores.texts(k), str(scores.images[k])] for k, name in enumerate(task.class_names)]


def sections(report: RunReport, task: ClassificationTask) -> list[str]:
    """Confusion, classes, mistakes, calibration, abstaining; of the split that is looked at closely."""
    evidence = report.measured[-1]
    answers = Answers.of(report.table, evidence, probabilities_of(task, evidence))
    confusions = confusions_of(task, evidence)
    columns = ["class", "precision", "recall", "F1", "images"]
    return [
        confusion_section(report, confusions, task.class_names),
        section("Precision, recall and F1 per class", html_table(columns, class_rows(task, evidence), sortable=True)),
        mistakes_section(report, task, answers),
        pairs_section(answers, confusions),
        calibration_section(report, Calibrated.of(task, evidence), []),
        abstaining_section(report, answers),
        unusual_section(task, evidence, answers),
    ]


def abstaining_section(report: RunReport, answers: Answers) -> str:
    rows = [
        [f"{threshold:g}", share_text(answered), "-" if right is None else share_text(right)]
        for threshold, answered, right in abstaining(answers.confidences_N, answers.right_N)
    ]
    image = draw_coverage(*accuracy_by_coverage(answers.confidences_N, answers.right_N))
    return section(
        "Abstaining: accuracy by coverage",
        "<p>What if only confident answers are given? <code>src.predict abstain_below=0.9</code> gives no prediction "
        "where the confidence is less.</p>",
        html_table(["abstain_below", "answered", "right among these"], rows, 0),
        report.figure("report/coverage", image, "Accuracy by share answered"),
    )
