"""Masks are matched as boxes are, by their own IoU: the values of faster-coco-eval."""

from collections.abc import Sequence

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask as coco_mask
from support.box_scenes import drawn_scenes

from src.evaluation.boxes.average_precision import box_metrics
from src.evaluation.boxes.mask_overlaps import MaskMeasure
from src.evaluation.boxes.matches import TrueBoxes
from src.evaluation.boxes.matching import match
from src.evaluation.pixels.crops import Crop
from src.evaluation.pixels.pasting import pasted

SIDE = 660  # of the images, which have boxes up to 640 px


def blobs(random: np.random.Generator, images: int, rows: int) -> np.ndarray:
    """Soft masks uint8 [images, rows, 28, 28]."""
    coarse = random.random((images, rows, 4, 4))
    return (np.kron(coarse, np.ones((7, 7))) * 255).astype(np.uint8)


def true_crops(random: np.random.Generator, truth: TrueBoxes) -> list[list[Crop]]:
    masks = blobs(random, 1, len(truth.class_M))[0]
    crops = [pasted(mask, box) for mask, box in zip(masks, truth.boxes_xyxy_M4, strict=True)]
    crops = [crop if crop.area else Crop(0, 0, np.ones((1, 1), dtype=np.bool_)) for crop in crops]
    ends = np.cumsum(truth.counts_N)
    return [crops[end - count : end] for end, count in zip(ends.tolist(), truth.counts_N.tolist(), strict=True)]


def encoded(crop: Crop) -> dict:
    found = coco_mask.encode(np.asfortranarray(crop.whole((SIDE, SIDE)).astype(np.uint8)))
    return {**found, "counts": found["counts"].decode()}


def by_coco(
    detections: np.ndarray, masks: np.ndarray, truth: TrueBoxes, crops: Sequence[Sequence[Crop]], classes: int
) -> np.ndarray:
    """AP, AP50, AP75 and by size."""
    columns = truth.image_of_box.tolist(), truth.class_M.tolist(), truth.crowd_M.tolist()
    true = [
        {"id": m, "image_id": image, "category_id": k, "iscrowd": int(crowd), "area": crop.area, "bbox": [0, 0, 1, 1]}
        | {"segmentation": encoded(crop)}
        for m, (image, k, crowd, crop) in enumerate(
            zip(*columns, [crop for image in crops for crop in image], strict=True), start=1
        )
    ]
    found = [
        {"image_id": n, "category_id": int(row[5]), "score": float(row[4])}
        | {"segmentation": encoded(pasted(mask, row[:4]))}
        for n in range(len(detections))
        for row, mask in zip(detections[n], masks[n], strict=True)
        if row[5] >= 0
    ]
    images = [{"id": n, "width": SIDE, "height": SIDE} for n in range(len(detections))]
    categories = [{"id": k, "name": str(k)} for k in range(classes)]
    coco = COCO({"images": images, "annotations": true, "categories": categories})
    evaluation = COCOeval_faster(coco, coco.loadRes(found), "segm", print_function=lambda *_: None)
    evaluation.params.maxDets = [1, 10, 1000]
    evaluation.run()
    return np.asarray(evaluation.stats)[:6]


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_is_coco_s(seed: int) -> None:
    random = np.random.default_rng(seed)
    detections, truth = drawn_scenes(seed, images=6, most=12, boxes=4, classes=3)
    masks, crops = blobs(random, *detections.shape[:2]), true_crops(random, truth)
    for n, image in enumerate(crops):  # half of what is found is nearly the true mask, so that something is right
        for row in range(0, min(len(image), detections.shape[1]), 2):
            start = int(truth.counts_N[:n].sum()) + row
            detections[n, row] = [*truth.boxes_xyxy_M4[start], 0.5 + row / 100, truth.class_M[start]]
            crop = image[row]
            masks[n, row] = crop.pixels[
                np.linspace(0, crop.pixels.shape[0] - 1, 28).astype(int)[:, None],
                np.linspace(0, crop.pixels.shape[1] - 1, 28).astype(int),
            ] * np.uint8(255)  # fmt: skip
    matches = match(detections, truth, 3, MaskMeasure(masks, lambda n: crops[n]))
    ours = box_metrics(matches)
    names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
    expected = by_coco(detections, masks, truth, crops, 3)
    found = np.nan_to_num([ours[name] for name in names], nan=-1)
    assert np.allclose(found, expected, atol=1e-6) and expected[0] > 0
