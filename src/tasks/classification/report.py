"""Sections of the page about a classifier: one class per image."""

from contextlib import suppress
from html import escape

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.distributed.tensor import DTensor

from src.data.decode import UnreadableImage
from src.data.table import ImageTable
from src.data.transforms import evaluation_transform
from src.evaluation import analysis
from src.evaluation.analysis import Ints
from src.evaluation.calibration import Floats, reliability, to_probabilities
from src.evaluation.confusion import ConfusionCounts, count_confusions
from src.models.grad_cam import explain_batch
from src.reports.charts import draw_coverage, draw_reliability
from src.reports.drawing import draw_confusions, draw_images, heat_over
from src.reports.parts import html_table, share_text
from src.reports.run import RunReport, image_cards, section
from src.runs.results import SplitOutputs
from src.settings.errors import ConfigError

HEADLINE = ["acc", "balanced_acc", "f1", "ece"]
MISTAKES, UNSURE, PAIRS, OF_PAIR = 24, 12, 5, 6
MAPS_AT_ONCE = 8  # of the mistakes, for the memory that gradients take
MATRIX_CLASSES = 30  # up to which the confusion matrix is a table


def calibrated(report: RunReport, outputs: SplitOutputs) -> Floats:
    """Probabilities [N, K]."""
    return to_probabilities(outputs.outputs_NK.astype(np.float64) / report.task.temperature, True)


def add_intervals(report: RunReport) -> None:
    for outputs in report.measured:
        found = analysis.classification_intervals(calibrated(report, outputs), outputs.labels, outputs.groups)
        report.intervals |= {f"{outputs.split}/{name}": interval for name, interval in found.items()}


def sections(report: RunReport) -> list[str]:
    """Confusion, classes, mistakes, calibration, abstaining; of the split that is looked at closely."""
    outputs = report.measured[-1]
    table, labels_N, names = outputs.table, outputs.labels, outputs.table.class_names
    probabilities_NK = calibrated(report, outputs)
    predicted_N = outputs.outputs_NK.argmax(axis=1).astype(np.int64)
    confidences_N = probabilities_NK[np.arange(len(labels_N)), predicted_N]
    confusions = count_confusions(predicted_N, labels_N, len(names))
    return [
        confusion_section(report, confusions, names),
        classes_section(confusions, names),
        mistakes_section(report, outputs, predicted_N, confidences_N),
        pairs_section(table, outputs.rows_N, labels_N, predicted_N, confidences_N, confusions),
        calibration_section(report, outputs, probabilities_NK),
        abstaining_section(report, confidences_N, predicted_N == labels_N),
        unusual_section(report, outputs, predicted_N, confidences_N),
    ]


def confusion_section(report: RunReport, confusions: ConfusionCounts, names: list[str]) -> str:
    if len(names) <= MATRIX_CLASSES:
        report.figures["report/confusion"] = draw_confusions(confusions, names)
        return section(
            "Confusion matrix", "<p>Rows: true class; columns: predicted.</p>", matrix_table(confusions.matrix(), names)
        )
    order, images_K = confusions.neighbouring_order(), confusions.true_counts
    image = draw_confusions(confusions.renumbered(np.argsort(order), len(names)), [names[k] for k in order])
    rows = [
        [names[true], names[predicted], f"{count:,}", share_text(count / int(images_K[true]))]
        for true, predicted, count in confusions.most_confused(25)
    ]
    figure = report.figure("report/confusion", image, "Confusion matrix")
    return section(
        "Confusion matrix",
        "<p>Rows: true class; columns: predicted; classes that are mistaken for each other lie side by side.</p>",
        figure,
        "<h3>Commonest confusions</h3>" if rows else "",
        html_table(["true", "predicted", "images", "of the class"], rows, 2, sortable=True) if rows else "",
    )


def matrix_table(matrix_KK: Ints, names: list[str]) -> str:
    head = "".join(f'<th title="{escape(name)}">{escape(name)}</th>' for name in names)
    lines = []
    for k, name in enumerate(names):
        total = max(int(matrix_KK[k].sum()), 1)
        cells = []
        for j, count in enumerate(matrix_KK[k].tolist()):
            color = "46, 125, 50" if j == k else "198, 40, 40"
            strength = 0.12 + 0.6 * count / total if count else 0.0
            cells.append(f'<td style="background: rgba({color}, {strength:.2f})">{count or ""}</td>')
        lines.append(f'<tr><th class="text" title="{escape(name)}">{escape(name)}</th>{"".join(cells)}</tr>')
    return f'<div class="scroll"><table class="matrix"><tr><th></th>{head}</tr>{"".join(lines)}</table></div>'


def classes_section(confusions: ConfusionCounts, names: list[str]) -> str:
    scores = analysis.class_scores(confusions.right_counts, confusions.true_counts, confusions.predicted_counts)
    rows = [
        [name, f"{scores.precision[k]:.4f}", f"{scores.recall[k]:.4f}", f"{scores.f1[k]:.4f}", str(scores.images[k])]
        for k, name in enumerate(names)
    ]
    columns = ["class", "precision", "recall", "F1", "images"]
    return section("Classes", html_table(columns, rows, sortable=True))


def mistakes_section(report: RunReport, outputs: SplitOutputs, predicted_N: Ints, confidences_N: Floats) -> str:
    table, labels_N = outputs.table, outputs.labels
    wrong = np.flatnonzero(predicted_N != labels_N)
    wrong = wrong[np.argsort(-confidences_N[wrong], kind="stable")]
    right = np.flatnonzero(predicted_N == labels_N)
    unsure = right[np.argsort(confidences_N[right], kind="stable")][:UNSURE]

    def cards(chosen: npt.NDArray[np.intp], maps: dict[int, Image.Image] | None = None) -> str:
        shown = []
        for n in chosen.tolist():
            answer = f"{table.class_names[predicted_N[n]]} {confidences_N[n]:.3f}"
            shown.append((int(outputs.rows_N[n]), answer, bool(predicted_N[n] == labels_N[n]), ""))
        return image_cards(table, shown, maps)

    maps = draw_mistakes(report, outputs, wrong[:MISTAKES], predicted_N, confidences_N)
    count = f"{len(wrong):,} of {len(labels_N):,} answers are wrong"
    note = "; the surest come first. Some may be right, and the label wrong." if len(wrong) else "."
    if maps:
        note += " Beside each image, what speaks for the wrong answer: yellow most, violet not at all (Grad-CAM)."
    return section(
        "Mistakes",
        f"<p>{count}{note}</p>",
        cards(wrong[:MISTAKES], maps),
        "<h3>Right, but the least sure</h3>" if len(unsure) else "",
        cards(unsure),
    )


def draw_mistakes(
    report: RunReport, outputs: SplitOutputs, chosen: npt.NDArray[np.intp], predicted_N: Ints, confidences_N: Floats
) -> dict[int, Image.Image]:
    """A figure of the mistakes for TensorBoard; by row of the table, heat maps over what the network got to see."""
    transform = evaluation_transform(report.task.record.preprocessing)
    names, images, kept = outputs.table.class_names, [], []
    for n in chosen.tolist():
        with suppress(UnreadableImage):
            images.append(transform(outputs.table.read(int(outputs.rows_N[n]), transform.needed_px)))
            kept.append(n)
    if not images:
        return {}
    images_BCHW = torch.stack(images)
    texts = [f"{names[predicted_N[n]]} {confidences_N[n]:.2f}, not {names[outputs.labels[n]]}" for n in kept]
    report.figures["report/mistakes"] = draw_images(images_BCHW, texts, columns=6)
    if any(isinstance(parameter, DTensor) for parameter in report.task.parameters()):
        return {}  # sharded weights compute only where all processes do
    maps = {}
    try:
        for part in np.array_split(np.arange(len(kept)), -(-len(kept) // MAPS_AT_ONCE)):
            classes_B = torch.from_numpy(predicted_N[[kept[b] for b in part]])
            for b, heat_HW in zip(part, explain_batch(report.task, images_BCHW[part], classes_B).numpy(), strict=True):
                maps[int(outputs.rows_N[kept[b]])] = heat_over(images[b].permute(1, 2, 0).numpy(), heat_HW)
    except ConfigError:  # a network without maps
        return {}
    return maps


def pairs_section(
    table: ImageTable,
    rows_N: Ints,
    labels_N: Ints,
    predicted_N: Ints,
    confidences_N: Floats,
    confusions: ConfusionCounts,
) -> str:
    if len(table.class_names) < 3:
        return ""
    parts = []
    for true, predicted, count in confusions.most_confused(PAIRS):
        found = np.flatnonzero((labels_N == true) & (predicted_N == predicted))
        found = found[np.argsort(-confidences_N[found], kind="stable")][:OF_PAIR]
        name, other = table.class_names[true], table.class_names[predicted]
        parts.append(f"<h3>{escape(name)} taken for {escape(other)}: {count:,}</h3>")
        cards = [(int(rows_N[n]), f"{other} {confidences_N[n]:.3f}", False, "") for n in found.tolist()]
        parts.append(image_cards(table, cards))
    return section("Most confused pairs", *parts)


def calibration_section(report: RunReport, outputs: SplitOutputs, probabilities_NK: Floats) -> str:
    before = reliability(to_probabilities(outputs.outputs_NK.astype(np.float64), True), outputs.labels)
    after = reliability(probabilities_NK, outputs.labels)
    temperature = report.task.temperature
    tendency = (
        "too sure of itself" if temperature > 1.02 else "not sure enough" if temperature < 0.98 else "about right"
    )
    note = (
        f"<p>Temperature {temperature:.3f}, fitted on val: the network as trained was {tendency}. Expected "
        f"calibration error (15 bins of equal width): {before.expected_error:.4f} as trained, "
        f"{after.expected_error:.4f} calibrated. Predictions stay the same; evaluate, predict and export use the "
        "calibrated probabilities.</p>"
    )
    if report.own_data and report.split == "val":
        note += "<p>The temperature was fitted on these very images, so the calibrated error flatters.</p>"
    if len(outputs.rows_N) < 500:
        note += f"<p>With {len(outputs.rows_N):,} images most bins hold a handful: read the bars with that in mind.</p>"
    image = draw_reliability(before, after)
    return section(
        "Can the probabilities be believed?", note, report.figure("report/reliability", image, "Reliability")
    )


def abstaining_section(report: RunReport, confidences_N: Floats, right_N: npt.NDArray[np.bool_]) -> str:
    rows = [
        [f"{threshold:g}", share_text(answered), "-" if right is None else share_text(right)]
        for threshold, answered, right in analysis.abstaining(confidences_N, right_N)
    ]
    image = draw_coverage(*analysis.accuracy_by_coverage(confidences_N, right_N))
    return section(
        "What if only sure answers are given?",
        "<p><code>src.predict abstain_below=0.9</code> gives no prediction where the confidence is less.</p>",
        html_table(["abstain_below", "answered", "right among these"], rows, 0),
        report.figure("report/coverage", image, "Accuracy by share answered"),
    )


def unusual_section(report: RunReport, outputs: SplitOutputs, predicted_N: Ints, confidences_N: Floats) -> str:
    """The images that look least like the training's."""
    scores_N = report.task.ood_scores(torch.from_numpy(outputs.outputs_NK)).numpy()
    chosen = np.argsort(-scores_N, kind="stable")[:OF_PAIR]
    names, labels_N = outputs.table.class_names, outputs.labels
    cards = [
        (int(outputs.rows_N[n]), f"{names[predicted_N[n]]} {confidences_N[n]:.3f}",
         bool(predicted_N[n] == labels_N[n]), f"ood_score {scores_N[n]:.2f}")
        for n in chosen.tolist()
    ]  # fmt: skip
    note = (
        "<p><code>ood_score</code> in predictions.csv is the energy of the logits: the higher, the less an image "
        f"excites any class. Here the median is {np.median(scores_N):.2f}, and 1 % lie above "
        f"{np.percentile(scores_N, 99):.2f}. It tells some images of another kind apart, by far not all: one that "
        "merely looks like a class gets a low score whatever it shows. Set a limit after looking at images of your "
        "own.</p>"
    )
    return section("Least like the training images", note, image_cards(outputs.table, cards))
