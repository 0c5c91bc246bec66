"""The report's section about which classes are taken for which."""

from html import escape

import numpy as np

from src.evaluation.confusion import ConfusionCounts, Ints
from src.reports.confusion_matrix import draw_confusions
from src.reports.parts import html_table, section, share_text
from src.reports.run_report import RunReport

MATRIX_CLASSES = 30  # up to which the confusion matrix is a table


def confusion_section(report: RunReport, confusions: ConfusionCounts, names: list[str]) -> str:
    if len(names) <= MATRIX_CLASSES:
        report.figures["report/confusion"] = draw_confusions(confusions, names)
        return section(
            "Confusion matrix", "<p>Rows: true class; columns: predicted.</p>", matrix_table(confusions.matrix(), names)
        )
    order, images_K = confusions.neighbouring_order(), confusions.true_counts
    image = draw_confusions(confusions.renumbered(np.argsort(order), len(names)), [names[k] for k in order])
    rows = [
        [names[true], names[predicted], f"{count:,}", share_text(count / int(images_K[true]))]
        for true, predicted, count in confusions.most_confused(25)
    ]
    figure = report.figure("report/confusion", image, "Confusion matrix")
    return section(
        "Confusion matrix",
        "<p>Rows: true class; columns: predicted; classes that are mistaken for each other lie side by side.</p>",
        figure,
        "<h3>Most common confusions</h3>" if rows else "",
        html_table(["true", "predicted", "images", "of the class"], rows, 2, sortable=True) if rows else "",
    )


def matrix_table(matrix_KK: Ints, names: list[str]) -> str:
    head = "".join(f'<th title="{escape(name)}">{escape(name)}</th>' for name in names)
    lines = []
    for k, name in enumerate(names):
        total = max(int(matrix_KK[k].sum()), 1)
        cells = []
        for j, count in enumerate(matrix_KK[k].tolist()):
            color = "46, 125, 50" if j == k else "198, 40, 40"
            strength = 0.12 + 0.6 * count / total if count else 0.0
            cells.append(f'<td style="background: rgba({color}, {strength:.2f})">{count or ""}</td>')
        lines.append(f'<tr><th class="text" title="{escape(name)}">{escape(name)}</th>{"".join(cells)}</tr>')
    return f'<div class="scroll"><table class="matrix"><tr><th></th>{head}</tr>{"".join(lines)}</table></div>'
