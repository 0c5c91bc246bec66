"""The report's sections with images: the worst mistakes, confused pairs, and what is unlike the training."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.distributed.tensor import DTensor

from src.data.decode import UnreadableImage
from src.data.table import ImageTable
from src.data.transforms import evaluation_transform
from src.evaluation.calibration import Floats
from src.evaluation.confusion import ConfusionCounts, Ints
from src.evaluation.evidence import Evidence
from src.reports.drawing import draw_images
from src.reports.heat_maps import heat_over
from src.reports.parts import image_cards, section
from src.reports.run_report import RunReport
from src.settings.errors import ConfigError
from src.tasks.classification.task import ClassificationTask

MISTAKES, UNSURE, PAIRS, OF_PAIR = 24, 12, 5, 6
MAPS_AT_ONCE = 8  # of the mistakes, for the memory that gradients take


@dataclass(frozen=True)
class Answers:
    """Of N images: rows of the table, true and predicted class, and the confidence in the latter, 0..1."""

    table: ImageTable
    rows_N: Ints
    labels_N: Ints
    predicted_N: Ints
    confidences_N: Floats

    @classmethod
    def of(cls, table: ImageTable, evidence: Evidence, probabilities_NK: Floats) -> "Answers":
        predicted_N = evidence.arrays["outputs"].argmax(axis=1).astype(np.int64)
        confidences_N = probabilities_NK[np.arange(len(evidence)), predicted_N]
        return cls(table, evidence.rows_N, evidence.labels, predicted_N, confidences_N)

    @property
    def right_N(self) -> npt.NDArray[np.bool_]:  # noqa: N802
        right_N: npt.NDArray[np.bool_] = self.predicted_N == self.labels_N
        return right_N

    def cards(
        self,
        chosen: npt.NDArray[np.intp],
        maps: Mapping[int, Image.Image] | None = None,
        remarks: Mapping[int, str] = {},
    ) -> str:
        """Some of the images; maps by row of the table, remarks by image."""
        shown = []
        for n in chosen.tolist():
            answer = f"{self.table.class_names[self.predicted_N[n]]} {self.confidences_N[n]:.3f}"
            shown.append((int(self.rows_N[n]), answer, bool(self.right_N[n]), remarks.get(n, "")))
        return image_cards(self.table, shown, maps)

    def most_confident(self, chosen: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """The chosen images in this order."""
        return chosen[np.argsort(-self.confidences_N[chosen], kind="stable")]


def mistakes_section(report: RunReport, task: ClassificationTask, answers: Answers) -> str:
    wrong = answers.most_confident(np.flatnonzero(~answers.right_N))
    right = np.flatnonzero(answers.right_N)
    unsure = right[np.argsort(answers.confidences_N[right], kind="stable")][:UNSURE]
    maps = draw_mistakes(report, task, answers, wrong[:MISTAKES])
    count = f"{len(wrong):,} of {len(answers.rows_N):,} answers are wrong"
    note = "; the most confident come first. Some may be right, and the label wrong." if len(wrong) else "."
    if maps:
        note += " Beside each image, what speaks for the wrong answer: yellow most, violet not at all (Grad-CAM)."
    return section(
        "Worst mistakes",
        f"<p>{count}{note}</p>",
        answers.cards(wrong[:MISTAKES], maps),
        "<h3>Least confident right answers</h3>" if len(unsure) else "",
        answers.cards(unsure),
    )


def draw_mistakes(
    report: RunReport, task: ClassificationTask, answers: Answers, chosen: npt.NDArray[np.intp]
) -> dict[int, Image.Image]:
    """A figure of the mistakes for the loggers; by row of the table, heat maps over what the network got to see."""
    transform = evaluation_transform(task.record.preprocessing)
    images, kept = [], []
    for n in chosen.tolist():
        with suppress(UnreadableImage):
            images.append(transform(answers.table.read(int(answers.rows_N[n]), transform.needed_px)))
            kept.append(n)
    if not images:
        return {}
    images_BCHW, names = torch.stack(images), task.class_names
    texts = [
        f"{names[answers.predicted_N[n]]} {answers.confidences_N[n]:.2f}, not {names[answers.labels_N[n]]}"
        for n in kept
    ]
    report.figures["report/mistakes"] = draw_images(images_BCHW, texts, columns=6)
    if any(isinstance(parameter, DTensor) for parameter in task.parameters()):
        return {}  # sharded weights compute only where all processes do
    maps = {}
    try:
        for part in np.array_split(np.arange(len(kept)), -(-len(kept) // MAPS_AT_ONCE)):
            classes_B = torch.from_numpy(answers.predicted_N[[kept[b] for b in part]])
            for b, heat_HW in zip(part, task.heat_maps(images_BCHW[part], classes_B).numpy(), strict=True):
                maps[int(answers.rows_N[kept[b]])] = heat_over(images[b].permute(1, 2, 0).numpy(), heat_HW)
    except ConfigError:  # a network without maps
        return {}
    return maps


def pairs_section(answers: Answers, confusions: ConfusionCounts) -> str:
    names = answers.table.class_names
    if len(names) < 3:
        return ""
    parts = []
    for true, predicted, count in confusions.most_confused(PAIRS):
        found = np.flatnonzero((answers.labels_N == true) & (answers.predicted_N == predicted))
        parts.append(f"<h3>{escape(names[true])} taken for {escape(names[predicted])}: {count:,}</h3>")
        parts.append(answers.cards(answers.most_confident(found)[:OF_PAIR]))
    return section("Most confused pairs", *parts)


def unusual_section(task: ClassificationTask, evidence: Evidence, answers: Answers) -> str:
    """The images that look least like the training's."""
    scores_N = task.ood_scores(evidence.arrays["outputs"])
    chosen = np.argsort(-scores_N, kind="stable")[:OF_PAIR]
    remarks = {n: f"ood_score {scores_N[n]:.2f}" for n in chosen.tolist()}
    note = (
        "<p>The images least like those of the training. <code>ood_score</code> in predictions.csv is the energy of "
        "the logits: the higher, the less an image excites any class. Here the median is "
        f"{np.median(scores_N):.2f}, and 1 % lie above {np.percentile(scores_N, 99):.2f}. It tells some images of "
        "another kind apart, by far not all: one that merely looks like a class gets a low score whatever it shows. "
        "Set a limit after looking at images of your own.</p>"
    )
    return section("Out-of-distribution images", note, answers.cards(chosen, remarks=remarks))
