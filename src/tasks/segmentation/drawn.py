"""A segmenter's classes on images: as it trains on them, and as it answers.

Shapes: H and W pixels of an image as it is drawn.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from src.data.decode import UnreadableImage
from src.data.masks import Mask, Masks
from src.data.table import ImageTable
from src.data.transforms import evaluation_transform
from src.evaluation.evidence import Evidence
from src.evaluation.pixels.confusion import VOID
from src.models.segmenter import classes_at
from src.reports.drawn_masks import draw_column, draw_mask, draw_mistakes, with_legend
from src.reports.judged_boxes import draw_grid
from src.runs.record import RunRecord

PANEL_PX, GAP_PX = 240, 4  # longer side of an image and of what is drawn beside it
SHOWN, COLUMNS, CELL_PX = 16, 4, 320  # images of a figure


class Answering(Protocol):
    """What is needed of the task: what its network says of an image uint8 [3, H, W], logits [K, h, w]."""

    record: RunRecord
    class_names: list[str]

    def look_at(self, image_CHW: Tensor) -> Tensor: ...


class Looked(NamedTuple):
    """An image, what its pixels are and what was found, at `PANEL_PX`; n is its place in the evidence."""

    n: int
    image: Image.Image
    truth_HW: Mask
    found_HW: Mask

    def panels(self) -> Image.Image:
        """The image, its true classes, those that were found, and where these are wrong."""
        drawn = [
            self.image,
            draw_mask(self.image, self.truth_HW),
            draw_mask(self.image, self.found_HW),
            draw_mistakes(self.image, self.truth_HW, self.found_HW),
        ]
        width, height = self.image.size
        canvas = Image.new("RGB", (len(drawn) * (width + GAP_PX) - GAP_PX, height), "white")
        for index, panel in enumerate(drawn):
            canvas.paste(panel, (index * (width + GAP_PX), 0))
        return canvas


def look_again(task: Answering, table: ImageTable, evidence: Evidence, images: Iterable[int]) -> Iterator[Looked]:
    """Those of these images, 0..N-1, that can be read: they are predicted once more, since no masks are kept."""
    assert isinstance(table.targets, Masks)
    transform = evaluation_transform(task.record.preprocessing)
    for n in images:
        row = int(evidence.rows_N[n])
        try:
            image, mask_HW = table.read(row, transform.needed_px), table.targets.mask(row)
        except UnreadableImage:
            continue
        logits_Khw = task.look_at(transform(image))
        factor = PANEL_PX / max(image.size)
        size = max(round(image.width * factor), 1), max(round(image.height * factor), 1)
        found_HW = classes_at(logits_Khw, size[::-1])
        truth_HW = np.asarray(Image.fromarray(mask_HW).resize(size, Image.Resampling.NEAREST))
        smooth = Image.Resampling.BICUBIC if factor < 1 else Image.Resampling.NEAREST
        yield Looked(n, image.resize(size, smooth), truth_HW, found_HW.cpu().numpy())


def classes_in(masks: Iterable[Mask], class_names: list[str]) -> list[tuple[int, str]]:
    """Ids and names of those that are there, the commonest first; and void."""
    counts = sum((np.bincount(mask.reshape(-1), minlength=VOID + 1) for mask in masks), np.zeros(VOID + 1, np.int64))
    there = [k for k in np.argsort(-counts, kind="stable").tolist() if counts[k]]
    return [(k, "void" if k == VOID else class_names[k]) for k in there]


def draw_some(task: Answering, table: ImageTable, evidence: Evidence) -> Image.Image:
    """A handful of images, the same ones each time: image, truth, answer and mistakes."""
    chosen = np.unique(np.linspace(0, len(evidence) - 1, SHOWN // 2).astype(int)).tolist()
    looked = list(look_again(task, table, evidence, chosen))
    texts = [f"{table.paths[evidence.rows_N[one.n]]}: image, truth, answer, mistakes" for one in looked]
    below = draw_column([one.panels() for one in looked], texts)
    return with_legend(below, classes_in([mask for one in looked for mask in one[2:]], task.class_names))


def draw_batch(
    images: Sequence[Tensor], targets: Iterable[dict[str, Any]], texts: Sequence[str], class_names: list[str]
) -> Image.Image:
    """The first images of a batch, uint8 [3, H, W], with their masks over them as the network gets them."""
    cells, masks = [], []
    for image_CHW, target in islice(zip(images, targets, strict=False), SHOWN):
        image, mask_HW = Image.fromarray(image_CHW.permute(1, 2, 0).numpy()), target["mask"].cpu().numpy()
        factor = CELL_PX / max(image.size)
        size = max(round(image.width * factor), 1), max(round(image.height * factor), 1)
        larger = np.asarray(Image.fromarray(mask_HW).resize(size, Image.Resampling.NEAREST))
        cells.append(draw_mask(image.resize(size, Image.Resampling.BICUBIC), larger))
        masks.append(mask_HW)
    grid = draw_grid(cells, texts[: len(cells)], CELL_PX, COLUMNS)
    return with_legend(grid, classes_in(masks, class_names))
