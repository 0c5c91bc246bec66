"""The predictions for the images of a split, as a csv file."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from src.data.table import ImageTable
from src.evaluation.evidence import Evidence
from src.files.csv_files import CsvWriter

if TYPE_CHECKING:
    from src.training.task import FineTuneTask

MAX_PROBABILITY_COLUMNS = 100


def write_predictions(
    path: Path, task: "FineTuneTask", table: ImageTable, evidence: Evidence, spreadsheet_safe: bool = True
) -> None:
    """One row per image: path, label, the answer, and with up to 100 classes the probability of each."""
    wide = len(task.probability_columns) <= MAX_PROBABILITY_COLUMNS
    with path.open("w", newline="", encoding="utf-8") as file:
        answers = [name if task.probability_columns else f"predicted:{name}" for name in task.answer_columns]
        columns = ["path", "label", *answers, *(task.probability_columns if wide else [])]
        writer = CsvWriter(file, columns, spreadsheet_safe)
        for start in range(0, len(evidence), 1024):
            chosen = slice(start, start + 1024)
            part = task.rows(torch.from_numpy(evidence.arrays["outputs"][chosen]).to(task.device))
            for row, (answer, probabilities) in zip(evidence.rows_N[chosen], part, strict=True):
                row_texts = [str(table.paths[row]), table.label_text(int(row)), *answer]
                writer.write([*row_texts, *(probabilities if wide else [])])
