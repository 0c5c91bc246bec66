"""The predictions for the images of a split, as a csv file."""

from pathlib import Path

from src.data.table import ImageTable
from src.evaluation.evidence import Evidence
from src.files.csv_files import CsvWriter
from src.training.task import FineTuneTask

MAX_PROBABILITY_COLUMNS = 100


def write_predictions(
    path: Path, task: FineTuneTask, table: ImageTable, evidence: Evidence, spreadsheet_safe: bool = True
) -> None:
    """One row per image: path, label, and the columns of src.predict; probabilities only of up to 100 classes."""
    wide = len(task.class_names) <= MAX_PROBABILITY_COLUMNS
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = ["path", "label", *task.prediction.columns(task.class_names, wide)]
        writer = CsvWriter(file, columns, spreadsheet_safe)
        for row, prediction in zip(evidence.rows_N.tolist(), task.predictions_of(evidence), strict=True):
            image = {"path": str(table.paths[row]), "label": table.targets.text(row)}
            writer.write({**image, **prediction.row()})
