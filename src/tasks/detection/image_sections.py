"""The report's section with the worst images, and a table of all images."""

from html import escape

import numpy as np

from src.data.table import ImageTable
from src.evaluation.boxes.sizes import errors_per_image, worst_images
from src.evaluation.evidence import Evidence
from src.reports.judged_boxes import draw_grid, draw_legend
from src.reports.parts import chart, encoded, section
from src.reports.run_report import RunReport
from src.tasks.detection.answers import BoxAnswers
from src.tasks.detection.drawn import CELL_PX, COLUMNS, drawn_images

IMAGE_COLUMNS = ["path", "label", "true", "found", "missed", "false_alarms", "f1"]
WORST = 16


def image_rows(table: ImageTable, evidence: Evidence, answers: BoxAnswers) -> list[list[str]]:
    """Of the answers at IoU 0.5, for each image: true boxes, found and missed ones, false alarms, and F1 (1 where
    nothing is to be found, and nothing is).
    """
    accepted = answers.accepted
    missed_N, alarms_N = errors_per_image(accepted)
    true_N = np.bincount(accepted.image_M[accepted.countable()], minlength=accepted.images)
    found_N = true_N - missed_N
    errors_N = missed_N + alarms_N
    f1_N = np.where(errors_N > 0, 2 * found_N / np.maximum(2 * found_N + errors_N, 1), 1.0)
    return [
        [str(table.paths[row]), table.targets.text(row), *map(str, counts), f"{f1:.6g}"]
        for row, *counts, f1 in zip(
            *(column.tolist() for column in (evidence.rows_N, true_N, found_N, missed_N, alarms_N, f1_N)), strict=True
        )
    ]


def worst_section(report: RunReport, evidence: Evidence, answers: BoxAnswers) -> str:
    missed_N, alarms_N = errors_per_image(answers.accepted)
    wrong = int((missed_N + alarms_N > 0).sum())
    title, count = "Worst images", f"Images with a missed box or a false alarm: {wrong:,} of {len(evidence):,}"
    if not wrong:
        return section(title, f"<p>{count}.</p>")
    worst = {one.image: one for one in worst_images(answers.accepted, WORST)}
    drawn = dict(drawn_images(report.table, answers, evidence, worst))
    cards, texts = [], []
    for n, image in drawn.items():
        row = int(evidence.rows_N[n])
        said = f"missed {worst[n].missed}, false alarms {worst[n].false_alarms}"
        texts.append(said)
        caption = (
            f"<figcaption><b>{said}</b><br>label: {escape(report.table.targets.text(row) or 'nothing')}<br>"
            f'<span class="where">{escape(str(report.table.paths[row]))}</span></figcaption>'
        )
        alt = escape(f"Image with its boxes: {said}")
        cards.append(
            f'<li class="card"><figure><img alt="{alt}" src="{encoded(image, "JPEG")}">{caption}</figure></li>'
        )
    cells = [image.copy() for image in drawn.values()]
    for image in cells:
        image.thumbnail((CELL_PX, CELL_PX))
    if cells:
        report.figures["report/worst_images"] = draw_grid(cells, texts, CELL_PX, COLUMNS)
    note = (
        f"<p>{count}; those with most come first. Some answers may be right, and a label missing. Wrong answers have "
        "double lines; true boxes are drawn by their corners, missed ones with the name of their class.</p>"
    )
    legend = chart(draw_legend(), "White corners: true box that was found. Blue: right answer. Yellow corners: missed "
                   "box. Orange, double lines: wrong answer.")  # fmt: skip
    return section(title, legend, note, f'<ul class="cards boxes">{"".join(cards)}</ul>')
