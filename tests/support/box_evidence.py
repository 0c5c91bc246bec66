"""What an evaluation of a detector keeps, made up."""

from collections.abc import Sequence

import numpy as np
from support.box_scenes import Box, detections_of

from src.data.boxes import Boxes
from src.data.table import ImageTable, string_column
from src.evaluation.boxes.matches import TrueBoxes
from src.evaluation.evidence import Evidence

SIDE_PX = 100  # of every image


def boxes_of(truth: TrueBoxes, names: list[str]) -> Boxes:
    counts_N = truth.counts_N
    sides = np.full((2, len(counts_N)), SIDE_PX)
    values = np.stack([np.cumsum(counts_N) - counts_N, counts_N, *sides], axis=1)
    return Boxes(values, names, truth.boxes_xyxy_M4, truth.class_M, truth.crowd_M)


def evidence_of(
    detections: np.ndarray | Sequence[Sequence[Box]], truth: TrueBoxes, names: list[str], split: str = "val"
) -> Evidence:
    """Of images whose rows in the table are 0, 1, 2, ..."""
    detections_ND6 = detections if isinstance(detections, np.ndarray) else detections_of(detections)
    rows_N = np.arange(len(detections_ND6))
    return Evidence(split, rows_N, {"detections": detections_ND6}, boxes_of(truth, names))


def table_of(evidence: Evidence) -> ImageTable:
    """Grey images."""
    from PIL import Image

    paths = string_column(f"{row}.png" for row in evidence.rows_N)
    grey = Image.new("RGB", (SIDE_PX, SIDE_PX), (128, 128, 128))
    return ImageTable(paths, evidence.labels, {evidence.split: evidence.rows_N}, read_row=lambda row: grey.copy())
