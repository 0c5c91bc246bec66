"""The report's section about which class is taken for which, of tasks with one class per image or pixel."""

import numpy as np
from PIL import Image

from src.evaluation.confusion import ConfusionCounts
from src.reports.confusion_matrix import TABLE_CLASSES, confusion_table, draw_confusions
from src.reports.parts import html_table, section, share_text
from src.reports.run_report import RunReport

PAIRS = 25


def confusion_section(report: RunReport, confusions: ConfusionCounts, names: list[str], what: str = "images") -> str:
    """`what` is counted; where that is not images, the matrix has shares of its rows in percent."""
    percent, note = what != "images", "<p>Rows: true class; columns: predicted"
    if percent:
        note += f"; numbers: percent of the {what} of the row"
    if len(names) <= TABLE_CLASSES:
        report.figures["report/confusion"] = draw_in_order(confusions, names, percent)
        return section("Confusion matrix", f"{note}.</p>", confusion_table(confusions.matrix(), names, percent))
    figure = report.figure("report/confusion", draw_in_order(confusions, names, percent), "Confusion matrix")
    counts_K = confusions.true_counts
    rows = [
        [names[true], names[predicted], f"{count:,}", share_text(count / int(counts_K[true]))]
        for true, predicted, count in confusions.most_confused(PAIRS)
    ]
    return section(
        "Confusion matrix",
        f"{note}; classes that are mistaken for each other lie side by side.</p>",
        figure,
        "<h3>Most common confusions</h3>" if rows else "",
        html_table(["true", "predicted", what, "of the class"], rows, 2, sortable=True) if rows else "",
    )


def draw_in_order(confusions: ConfusionCounts, names: list[str], percent: bool = False) -> Image.Image:
    """Of very many classes those that are mistaken for each other lie side by side."""
    if len(names) <= TABLE_CLASSES:
        return draw_confusions(confusions, names, percent)
    order = confusions.neighbouring_order()
    near = confusions.renumbered(np.argsort(order), len(names))
    return draw_confusions(near, [names[k] for k in order], percent)
