"""Predictions that say where objects are: what every task whose answer is boxes has to offer beside that. No torch.

Shapes: N images, M boxes of one image, D rows for boxes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from src.evaluation.pixels.crops import Crop
from src.evaluation.pixels.run_lengths import text_of_runs
from src.evaluation.prediction import Floats, Outputs, Prediction

Size = tuple[int, int]  # width and height in pixels
SIZES = "sizes_wh"  # among outputs with masks: of the images, [N, 2]


class FoundObjects(Prediction):
    """Of one image: M objects, the highest score first.

    `boxes_xyxy` float32 [M, 4] in pixels of the image, x2 and y2 exclusive; `numbers` float32 [M], scores 0..1;
    `class_ids` int64 [M], indices into `class_names`. `crops`: the pixels of each, where those are found too; else
    nothing.
    """

    class_names: list[str]
    boxes_xyxy: Floats
    class_ids: npt.NDArray[np.int64]
    crops: Sequence[Crop] = ()

    @property
    def names(self) -> list[str]:
        """The class of each object."""
        return [self.class_names[k] for k in self.class_ids.tolist()]

    def annotations(self, size_wh: tuple[int, int]) -> list[dict[str, Any]]:
        """As COCO has results, without the image, whose size this is: classes count from 1; `bbox` is x, y, width and
        height in pixels, `area` square pixels; `segmentation` compressed run lengths, where pixels are found.
        """
        found = zip(self.boxes_xyxy.tolist(), self.class_ids.tolist(), self.numbers.tolist(), strict=True)
        plain = [
            {"category_id": k + 1, "bbox": [round(x, 2) for x in (x1, y1, x2 - x1, y2 - y1)], "score": round(score, 6)}
            for (x1, y1, x2, y2), k, score in found
        ]
        if not self.crops:
            return [{**one, "area": round(one["bbox"][2] * one["bbox"][3], 2)} for one in plain]
        return [{**one, **as_coco(crop, size_wh)} for one, crop in zip(plain, self.crops, strict=True)]


def as_coco(crop: Crop, size_wh: tuple[int, int]) -> dict[str, Any]:
    """A mask in an image of this size."""
    counts = text_of_runs(crop.runs(size_wh)).decode("ascii")
    return {"area": crop.area, "segmentation": {"size": [size_wh[1], size_wh[0]], "counts": counts}}


def joined(found: Sequence[Outputs], scales: Sequence[tuple[float, float]], sizes_wh: Sequence[Size]) -> Outputs:
    """The outputs of several images, of those of one each: `boxes` [M, 4], `scores` [M] and `labels` [M]; and `masks`
    uint8 [M, H, W], if there are any.

    Boxes are multiplied by the scales of x and y of their image. All float32 [N, D, ...], with labels -1 in rows that
    an image does not need; masks as Crops in pixels of the files, which have these sizes, object [N, D].
    """
    size = len(found), max(len(one["scores"]) for one in found)
    boxes_ND4 = np.zeros((*size, 4), dtype=np.float32)
    scores_ND, labels_ND = np.zeros(size, dtype=np.float32), np.full(size, -1, dtype=np.float32)
    crops_ND = np.full(size, None, dtype=object)
    for n, (one, scale) in enumerate(zip(found, scales, strict=True)):
        count = len(one["scores"])
        boxes_ND4[n, :count] = one["boxes"] * np.array(scale * 2, dtype=np.float32)
        scores_ND[n, :count], labels_ND[n, :count] = one["scores"], one["labels"]
        for m, mask_HW in enumerate(one.get("masks", ())):
            crops_ND[n, m] = Crop.of(mask_HW > 0).scaled(mask_HW.shape[::-1], sizes_wh[n])
    outputs = {"boxes": boxes_ND4, "scores": scores_ND, "labels": labels_ND}
    return outputs | ({"masks": crops_ND, SIZES: np.array(sizes_wh)} if "masks" in found[0] else {})
