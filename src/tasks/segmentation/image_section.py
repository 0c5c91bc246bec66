"""The report's section with the worst images, and a table of all images."""

from html import escape

import numpy as np

from src.data.table import ImageTable
from src.evaluation.evidence import Evidence
from src.evaluation.pixels.confusion import image_metrics
from src.reports.drawn_masks import draw_column, html_legend
from src.reports.parts import encoded, section
from src.reports.run_report import RunReport
from src.tasks.segmentation.drawn import classes_in, look_again
from src.tasks.segmentation.kept import image_sums
from src.tasks.segmentation.task import SegmentationTask

IMAGE_COLUMNS = ["path", "label", "miou", "acc", "pixels", "wrong"]
WORST = 12


def image_rows(table: ImageTable, evidence: Evidence) -> list[list[str]]:
    """Of each image that has a pixel that counts: the metrics of its own pixels, how many count and are wrong."""
    sums = image_sums(evidence)
    miou_N, acc_N = image_metrics(sums)
    pixels_N = sums.true.sum(axis=1)
    wrong_N = pixels_N - sums.right.sum(axis=1)
    return [
        [str(table.paths[row]), table.targets.text(row), f"{miou:.6g}", f"{acc:.6g}", str(pixels), str(wrong)]
        for row, miou, acc, pixels, wrong in zip(
            *(column.tolist() for column in (evidence.rows_N, miou_N, acc_N, pixels_N, wrong_N)), strict=True
        )
        if pixels
    ]


def worst_section(report: RunReport, task: SegmentationTask, evidence: Evidence) -> str:
    """By the mIoU of the image's own pixels; the answers are made once more, since no masks are kept."""
    if task.is_sharded:
        return ""
    miou_N, acc_N = image_metrics(image_sums(evidence))
    order = np.lexsort((acc_N, miou_N))
    worst = [n for n in order.tolist() if not np.isnan(miou_N[n])][:WORST]
    cards, panels, texts = [], [], []
    looked = list(look_again(task, report.table, evidence, worst))
    for one in looked:
        row, image = int(evidence.rows_N[one.n]), one.panels()
        said = f"mIoU {miou_N[one.n]:.3f}, {1 - acc_N[one.n]:.1%} of the pixels wrong"
        path = str(report.table.paths[row])
        caption = (
            f"<figcaption><b>{said}</b><br>label: {escape(report.table.targets.text(row))}<br>"
            f'<span class="where">{escape(path)}</span></figcaption>'
        )
        alt = escape(f"Image, truth, answer, mistakes: {said}")
        cards.append(
            f'<li class="card"><figure><img alt="{alt}" src="{encoded(image, "JPEG")}">{caption}</figure></li>'
        )
        panels.append(image)
        texts.append(f"{said}: {path}")
    if not cards:
        return ""
    report.figures["report/worst_images"] = draw_column(panels, texts)
    there = classes_in([mask for one in looked for mask in one[2:]], task.class_names)
    note = (
        "<p>The lowest mIoU of an image's own pixels comes first. From left: the image, its true classes, the answer, "
        "and in orange the pixels where these differ; void ones, which do not count, in blue. Some answers may be "
        "right, and the mask wrong.</p>"
    )
    return section("Worst images", note, html_legend(there), f'<ul class="cards panels">{"".join(cards)}</ul>')
