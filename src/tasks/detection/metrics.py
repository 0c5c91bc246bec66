"""Metrics of detection, as COCO defines them (src/evaluation/boxes)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from src.evaluation.boxes.average_precision import box_metrics
from src.evaluation.boxes.matches import Matches, TrueBoxes, joined
from src.evaluation.boxes.matching import match
from src.training.processes import gathered

Floats = npt.NDArray[np.float32]


class BoxMetrics:
    """Matches the boxes of each batch, and measures them all at the end.

    All in 0..1, higher is better; where there is nothing to find, as of small objects if all are large, NaN:

    - ap: average precision, the mean over classes and over the IoU thresholds 0.5, 0.55 to 0.95.
    - ap50, ap75: at IoU 0.5 and 0.75.
    - ap_small, ap_medium, ap_large: of true boxes below 32 x 32 pixels of the file, up to 96 x 96, and above.
    - ar: recall of all boxes that are found, the mean over classes and thresholds.
    """

    names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar")

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.pieces: list[tuple[npt.NDArray[np.int64], Matches]] = []

    def add(self, rows_B: npt.NDArray[np.int64], detections_BD6: Floats, truth: Sequence[Floats]) -> None:
        """Images by their rows of the table; `detections` and `truth` as DetectionTask and Boxes.sample have them."""
        self.pieces.append((rows_B, match(detections_BD6, true_boxes(truth), self.classes)))

    def take(self) -> dict[str, float]:
        """Of all images and processes, each of which calls it; counting starts anew."""
        pieces, self.pieces = gathered(self.pieces), []
        if not pieces:
            return dict.fromkeys(self.names, float("nan"))
        rows_N = np.concatenate([rows_B for rows_B, _ in pieces])
        places_N = np.argsort(np.argsort(rows_N))  # so that equal scores have one order, whichever process saw them
        matches = joined([matches for _, matches in pieces]).renumbered(places_N, len(rows_N))
        return {name: value for name, value in box_metrics(matches).items() if name in self.names}


def true_boxes(truth: Sequence[Floats]) -> TrueBoxes:
    """Of images with x1, y1, x2, y2, class id and 1 for a crowd, float32 [m, 6] each."""
    rows_M6 = np.concatenate([np.empty((0, 6), dtype=np.float32), *truth])
    counts_N = np.array([len(one) for one in truth], dtype=np.int64)
    return TrueBoxes(counts_N, rows_M6[:, :4], rows_M6[:, 4].astype(np.int64), rows_M6[:, 5] > 0)
