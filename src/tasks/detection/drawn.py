"""A detector's boxes on images: as it trains on them, and as it answers."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from src.data.decode import UnreadableImage
from src.data.table import ImageTable
from src.evaluation.boxes.confusion import count_box_confusions
from src.evaluation.boxes.matches import RIGHT, WRONG
from src.evaluation.evidence import Evidence
from src.evaluation.pixels.crops import Crop
from src.reports.confusion_matrix import TABLE_CLASSES, draw_confusions
from src.reports.drawn_boxes import color_of, draw_boxes
from src.reports.judged_boxes import SIDE_PX, JudgedBoxes, Kind, draw_grid, draw_judged
from src.reports.painted_objects import painted
from src.tasks.detection.answers import BoxAnswers

BACKGROUND = "background"
SHOWN, COLUMNS, CELL_PX = 16, 4, 320  # images of a figure


def judged_boxes(answers: BoxAnswers, evidence: Evidence, n: int, class_names: list[str]) -> JudgedBoxes:
    """The answers for image n of the evidence, and its true boxes; without crowds and what lies in them."""
    truth_M6 = evidence.labels.rows_of(n)
    all_D6 = evidence.arrays["detections"][n]
    places_D = np.flatnonzero(all_D6[:, 5] >= 0)
    places_D = places_D[np.lexsort((-all_D6[places_D, 4], all_D6[places_D, 5]))]  # as `match` orders them
    rows_D6 = all_D6[places_D]
    found, boxes = (
        slice(*np.searchsorted(column, (n, n + 1))) for column in (answers.raw.image_D, answers.raw.image_M)
    )
    matches = answers.matches
    scores_D, verdicts_D = matches.score_D[found], matches.verdicts()[found]
    shown_D = (scores_D >= answers.thresholds_K[matches.class_D[found]]) & np.isin(verdicts_D, (RIGHT, WRONG))
    missed_M, kept_M = answers.accepted.missed()[boxes], truth_M6[:, 5] == 0
    kinds: list[Kind] = ["right" if verdict == RIGHT else "wrong" for verdict in verdicts_D[shown_D]]
    texts = [
        f"{class_names[int(k)]} {score:.2f}"
        for k, score in zip(rows_D6[shown_D, 5], scores_D[shown_D].tolist(), strict=True)
    ]
    kinds += ["missed" if missed else "true" for missed in missed_M[kept_M]]
    names = [class_names[int(k)] for k in truth_M6[kept_M, 4]]
    texts += [name if missed else "" for name, missed in zip(names, missed_M[kept_M], strict=True)]
    masks = evidence.arrays["masks"][n][places_D[shown_D]] if "masks" in evidence.arrays else ()
    return JudgedBoxes(np.concatenate([rows_D6[shown_D, :4], truth_M6[kept_M, :4]]), kinds, texts, masks)


def drawn_images(
    table: ImageTable, answers: BoxAnswers, evidence: Evidence, images: Iterable[int], side_px: int = SIDE_PX
) -> Iterator[tuple[int, Image.Image]]:
    """Those of these images, 0..N-1, that can be read."""
    for n in images:
        try:
            image = table.read(int(evidence.rows_N[n]), side_px)
        except UnreadableImage:
            continue
        scale = image.width / evidence.labels.size(n)[0]
        yield n, draw_judged(image, judged_boxes(answers, evidence, n, table.class_names), scale, side_px)


def draw_some(table: ImageTable, answers: BoxAnswers, evidence: Evidence) -> Image.Image:
    """A handful of images, the same ones each time."""
    chosen = np.unique(np.linspace(0, len(evidence) - 1, SHOWN // 2).astype(int)).tolist()
    drawn = dict(drawn_images(table, answers, evidence, chosen, CELL_PX))
    return draw_grid(list(drawn.values()), [str(table.paths[evidence.rows_N[n]]) for n in drawn], CELL_PX, COLUMNS)


def draw_confusion(answers: BoxAnswers, class_names: list[str]) -> Image.Image:
    """Of very many classes those that are mistaken for each other lie side by side."""
    counts, names = count_box_confusions(answers.accepted), [*class_names, BACKGROUND]
    if len(names) <= TABLE_CLASSES:
        return draw_confusions(counts, names)
    order = [k for k in counts.neighbouring_order() if k < len(class_names)] + [len(class_names)]
    return draw_confusions(counts.renumbered(np.argsort(order), len(names)), [names[k] for k in order])


def draw_batch(
    images: Sequence[Tensor], targets: Iterable[dict[str, Any]], texts: Sequence[str], class_names: list[str]
) -> Image.Image:
    """The first images of a batch, uint8 [3, H, W], with their boxes as the network gets them."""
    cells = []
    for image_CHW, target in islice(zip(images, targets, strict=False), SHOWN):
        image = Image.fromarray(image_CHW.permute(1, 2, 0).numpy())
        factor = CELL_PX / max(image.size)
        size = max(round(image.width * factor), 1), max(round(image.height * factor), 1)
        ids = target["labels"].tolist()
        image = painted(image, [Crop.of(mask) for mask in masks_of(target)], [color_of(k) for k in ids])
        boxes_M4 = target["boxes"].detach().cpu().numpy() * np.float32(factor)
        names, colors = [class_names[k] for k in ids], [color_of(k) for k in ids]
        cells.append(draw_boxes(image.resize(size, Image.Resampling.BICUBIC), boxes_M4, names, colors, text_px=14))
    return draw_grid(cells, texts[: len(cells)], CELL_PX, COLUMNS)


def masks_of(target: dict[str, Any]) -> np.ndarray[Any, Any]:
    """bool [m, H, W], where the target has masks."""
    return np.asarray(target["masks"].cpu().numpy() > 0) if "masks" in target else np.empty((0, 1, 1), dtype=np.bool_)
