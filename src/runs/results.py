"""What a run leaves for people: metrics.json, predictions, a table of the classes."""

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from src.data.table import ImageTable
from src.evaluation.confusion import ConfusionCounts
from src.files.csv_files import CsvWriter
from src.files.whole_files import replaced

if TYPE_CHECKING:
    from src.training.scores_task import ScoresTask

log = logging.getLogger(__name__)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Written whole or not at all; not-a-number becomes null, which json can say."""
    clean = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in values.items()}
    with replaced(path) as part:
        part.write_text(json.dumps(clean, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_class_table(
    path: Path, confusions: ConfusionCounts, class_names: list[str], spreadsheet_safe: bool = True
) -> None:
    """Precision, recall, F1 and number of images of each class."""
    right_K, true_K, predicted_K = confusions.right_counts, confusions.true_counts, confusions.predicted_counts
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = CsvWriter(file, ["class", "precision", "recall", "f1", "images"], spreadsheet_safe)
        for name, right, true, predicted in zip(class_names, right_K, true_K, predicted_K, strict=True):
            precision, recall = right / max(predicted, 1), right / max(true, 1)
            f1 = 2 * right / max(true + predicted, 1)
            writer.write([name, f"{precision:.4f}", f"{recall:.4f}", f"{f1:.4f}", int(true)])


MAX_PROBABILITY_COLUMNS = 100
MAX_NOT_FINITE = 0.02  # share of a split's outputs above which there are no metrics: they would be of the others alone


@dataclass(frozen=True)
class SplitOutputs:
    """What the network says about each readable image of a split: rows of the table [N], outputs float32 [N, K].

    `measurable`: whether these are enough of the split for metrics; too many outputs of the others are not finite.
    """

    split: str
    table: ImageTable
    rows_N: npt.NDArray[np.int64]
    outputs_NK: npt.NDArray[np.float32]
    measurable: bool = True

    @property
    def labels(self) -> npt.NDArray[Any]:
        """As in ImageTable, of these rows."""
        return self.table.labels[self.rows_N]

    @property
    def groups(self) -> npt.NDArray[np.int64] | None:
        """As in ImageTable, of these rows."""
        return None if self.table.groups_N is None else self.table.groups_N[self.rows_N]


def finite_outputs(
    split: str, table: ImageTable, rows_N: npt.NDArray[np.int64], outputs_NK: npt.NDArray[np.float32]
) -> SplitOutputs:
    """Without images whose outputs are not finite, which a warning names: no probability is known of them."""
    finite_N = np.isfinite(outputs_NK).all(axis=1)
    measurable = int((~finite_N).sum()) <= MAX_NOT_FINITE * len(rows_N)
    if not finite_N.all():
        names = [str(table.paths[row]) for row in rows_N[~finite_N]]
        more = f"\n  ... {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        log.warning(
            "The outputs for %d of %d %s images are not finite; metrics, calibration, predictions and report leave "
            "them out%s:\n  %s%s",
            len(names),
            len(rows_N),
            split,
            "" if measurable else f". More than {MAX_NOT_FINITE:.0%} is too many: there are no metrics of {split}",
            "\n  ".join(names[:MAX_NAMES]),
            more,
        )
    return SplitOutputs(split, table, rows_N[finite_N], outputs_NK[finite_N], measurable)


MAX_NAMES = 20  # of images in a message


def write_predictions(path: Path, task: "ScoresTask", outputs: SplitOutputs, spreadsheet_safe: bool = True) -> None:
    """One row per image: path, label, and the columns of src.predict; probabilities only of up to 100 classes."""
    wide = len(task.class_names) <= MAX_PROBABILITY_COLUMNS
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = ["path", "label", *task.prediction.columns(task.class_names, wide)]
        writer = CsvWriter(file, columns, spreadsheet_safe)
        for start in range(0, len(outputs.rows_N), 1024):
            chosen = slice(start, start + 1024)
            predictions = task.predictions(torch.from_numpy(outputs.outputs_NK[chosen]))
            for row, prediction in zip(outputs.rows_N[chosen].tolist(), predictions, strict=True):
                image = {"path": str(outputs.table.paths[row]), "label": outputs.table.label_text(row)}
                writer.write({**image, **prediction.row()})
