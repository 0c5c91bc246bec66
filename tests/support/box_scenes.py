"""Made-up images with true and predicted boxes: by hand, or drawn."""

from collections.abc import Sequence

import numpy as np

from src.evaluation.boxes.matches import TrueBoxes

Box = Sequence[float]  # x1, y1, x2, y2 and then: score, class of a detection; class (, 1 for a crowd) of a true box


def truth_of(images: Sequence[Sequence[Box]]) -> TrueBoxes:
    rows = [box for image in images for box in image]
    return TrueBoxes(
        counts_N=np.array([len(image) for image in images], dtype=np.int64),
        boxes_xyxy_M4=np.array([row[:4] for row in rows], dtype=np.float32).reshape(-1, 4),
        class_M=np.array([row[4] for row in rows], dtype=np.int64),
        crowd_M=np.array([len(row) > 5 for row in rows], dtype=np.bool_),
    )


def detections_of(images: Sequence[Sequence[Box]], most: int = 0) -> np.ndarray:
    detections_ND6 = np.zeros((len(images), max([most, *(len(image) for image in images)]), 6), dtype=np.float32)
    detections_ND6[:, :, 5] = -1
    for i, image in enumerate(images):
        if image:
            detections_ND6[i, : len(image)] = image
    return detections_ND6


def some_of(truth: TrueBoxes, images: np.ndarray) -> TrueBoxes:
    """The true boxes of these images, which may come twice."""
    starts_N = np.cumsum(truth.counts_N) - truth.counts_N
    rows = np.concatenate([np.arange(starts_N[i], starts_N[i] + truth.counts_N[i]) for i in images]).astype(int)
    columns = (truth.boxes_xyxy_M4[rows], truth.class_M[rows], truth.crowd_M[rows])
    return TrueBoxes(truth.counts_N[images], *columns)


def drawn_scenes(
    seed: int, images: int, most: int, boxes: float, classes: int, ties: float = 0.5
) -> tuple[np.ndarray, TrueBoxes]:
    """Detections [N, D, 6] of which most lie near a true box; with crowds, equal scores and images without boxes."""
    generator = np.random.default_rng(seed)
    size, crowds = float(generator.choice([80, 200, 640])), float(generator.choice([0, 0.1, 0.3]))
    truth = truth_of([drawn_boxes(generator, generator.poisson(boxes), size, classes) for _ in range(images)])
    truth = TrueBoxes(truth.counts_N, truth.boxes_xyxy_M4, truth.class_M, generator.random(len(truth.class_M)) < crowds)
    starts_N, tied, found = np.cumsum(truth.counts_N) - truth.counts_N, generator.random() < ties, []
    for start, count in zip(starts_N, truth.counts_N, strict=True):
        rows = np.array(drawn_boxes(generator, generator.integers(most + 1), size, classes)).reshape(-1, 5)
        if count and len(rows):
            near = np.flatnonzero(generator.random(len(rows)) < 0.7)
            aim = start + generator.integers(0, count, len(near))
            sides = np.tile(truth.boxes_xyxy_M4[aim, 2:] - truth.boxes_xyxy_M4[aim, :2], 2)
            rows[near, :4] = truth.boxes_xyxy_M4[aim] + generator.normal(0, 0.08, (len(near), 4)) * sides
            rows[near, 4] = np.where(generator.random(len(near)) < 0.8, truth.class_M[aim], rows[near, 4])
            rows[:, 2:4] = np.maximum(rows[:, 2:4], rows[:, :2] + 1)
        scores = np.sort(generator.random(len(rows)))[::-1]
        scores = np.round(scores, 1) if tied else scores
        found.append(np.column_stack([rows[:, :4], scores, rows[:, 4]]).tolist())
    return detections_of(found, most), truth


def drawn_boxes(generator: np.random.Generator, number: int, size: float, classes: int) -> list[list[float]]:
    sides = np.exp(generator.uniform(np.log(8), np.log(size / 2), (number, 2)))
    corners = generator.uniform(0, 1, (number, 2)) * (size - sides)
    return np.column_stack([corners, corners + sides, generator.integers(0, classes, number)]).tolist()
