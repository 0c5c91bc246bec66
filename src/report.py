"""What a run leaves for people: metrics.json, figures, a table of the classes."""

import csv
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from src.data.table import ImageTable

if TYPE_CHECKING:
    from src.tasks.base import FineTuneTask


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Written whole or not at all; not-a-number becomes null, which json can say."""
    clean = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in values.items()}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(clean, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def write_class_table(path: Path, matrix_KK: npt.NDArray[np.int64], class_names: list[str]) -> None:
    """Precision, recall, F1 and number of pictures of each class, from counts by true (row) and predicted class."""
    right_K, true_K, predicted_K = np.diag(matrix_KK), matrix_KK.sum(axis=1), matrix_KK.sum(axis=0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "precision", "recall", "f1", "images"])
        for name, right, true, predicted in zip(class_names, right_K, true_K, predicted_K, strict=True):
            precision, recall = right / max(predicted, 1), right / max(true, 1)
            f1 = 2 * right / max(true + predicted, 1)
            writer.writerow([name, f"{precision:.4f}", f"{recall:.4f}", f"{f1:.4f}", int(true)])


MAX_PROBABILITY_COLUMNS = 100


def write_predictions(
    path: Path, table: ImageTable, task: "FineTuneTask", rows_N: npt.NDArray[np.int64], outputs_NK: npt.NDArray[Any]
) -> None:
    """One row a picture: path, label, the answer, and with up to 100 classes the probability of each."""
    wide = len(task.probability_columns) <= MAX_PROBABILITY_COLUMNS
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        answers = [name if task.probability_columns else f"predicted:{name}" for name in task.answer_columns]
        writer.writerow(["path", "label", *answers, *(task.probability_columns if wide else [])])
        for start in range(0, len(rows_N), 1024):
            part = task.rows(torch.from_numpy(outputs_NK[start : start + 1024]).to(task.device))
            for row, (answer, probabilities) in zip(rows_N[start : start + 1024], part, strict=True):
                row_texts = [table.paths[row], table.label_text(int(row)), *answer]
                writer.writerow([*row_texts, *(probabilities if wide else [])])


def draw_confusion_matrix(matrix_KK: npt.NDArray[np.int64], class_names: list[str]) -> Figure:
    """Rows: true class, columns: predicted class. Colour: share of the row; numbers: pictures (up to 30 classes)."""
    classes = len(class_names)
    side = min(max(4.0, 0.45 * classes + 2), 16.0)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    share_KK = matrix_KK / np.maximum(matrix_KK.sum(axis=1, keepdims=True), 1)
    axes.imshow(share_KK, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    accuracy = np.trace(matrix_KK) / max(matrix_KK.sum(), 1)
    axes.set_title(f"{np.trace(matrix_KK):,} of {matrix_KK.sum():,} right ({accuracy:.1%})", fontsize=11)
    if classes <= 60:
        names = [name if len(name) <= 20 else f"{name[:19]}…" for name in class_names]
        size = 10 if classes <= 20 else 7
        axes.set_xticks(range(classes), names, rotation=90 if max(map(len, names)) > 2 else 0, fontsize=size)
        axes.set_yticks(range(classes), names, fontsize=size)
    if classes <= 30:
        for row, column in zip(*np.nonzero(matrix_KK), strict=True):
            color = "white" if share_KK[row, column] > 0.5 else "black"
            axes.text(column, row, str(matrix_KK[row, column]), ha="center", va="center", color=color, fontsize=9)
    return figure


def draw_images(images_BCHW: Tensor, labels: list[str], columns: int = 8) -> Figure:
    """Pictures uint8 [B, 3, H, W] in a grid, each under its label."""
    rows = -(-len(labels) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.7 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, image_CHW, label in zip(grid.flat, images_BCHW, labels, strict=False):
        axes.imshow(image_CHW.permute(1, 2, 0).numpy())
        axes.set_title(label if len(label) <= 16 else f"{label[:15]}…", fontsize=9)
    return figure


def pixels_of(figure: Figure) -> npt.NDArray[np.uint8]:
    """The figure drawn, uint8 [H, W, 3]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]


def scalars(metrics: dict[str, Any]) -> dict[str, float]:
    """Logged metrics as numbers, without those of single steps."""
    return {name: float(value) for name, value in metrics.items() if not name.endswith("_step")}
