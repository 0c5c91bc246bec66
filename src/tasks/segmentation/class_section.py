"""The report's section about single classes of pixels."""

from html import escape

import numpy as np

from src.evaluation.evidence import Evidence
from src.reports.parts import html_table, section
from src.reports.run_report import RunReport, number_text
from src.tasks.segmentation.kept import image_sums

CLASS_COLUMNS = ["class", "iou", "dice", "precision", "recall", "pixels", "found", "images"]
UNKNOWN = ""


def class_rows(evidence: Evidence, class_names: list[str]) -> list[list[str]]:
    """Of each class; empty texts where no true pixel is, and of precision where none is found."""
    of_images = image_sums(evidence)
    sums, images_K = of_images.together(), (of_images.true > 0).sum(axis=0)
    scores = sums.scores()
    rows = []
    for k, name in enumerate(class_names):
        precision = scores.precision[k] if sums.found[k] else np.nan
        values = [scores.iou[k], scores.dice[k], precision, scores.recall[k]]
        texts = [UNKNOWN if np.isnan(value) else f"{value:.4f}" for value in values]
        rows.append([name, *texts, str(sums.true[k]), str(sums.found[k]), str(images_K[k])])
    return rows


def classes_section(report: RunReport, evidence: Evidence, class_names: list[str]) -> str:
    rows = class_rows(evidence, class_names)
    every = max(sum(int(row[5]) for row in rows), 1)
    shown = []
    for name, iou, *scores, pixels, found, images in rows:
        between = report.intervals.get(f"{evidence.split}/iou/{name}")
        interval = f"{number_text(between[0])}..{number_text(between[1])}" if between else UNKNOWN
        shares = [f"{int(count) / every:.2%}" for count in (pixels, found)]
        shown.append([name, iou, interval, *scores, *shares, f"{int(images):,}"])
    columns = ["class", "IoU", "95 %", "Dice", "precision", "recall", "true pixels", "found", "images"]
    absent = [row[0] for row in rows if row[5] == "0"]
    notes = [
        "IoU: pixels that are this class in truth and in the answer, of those that are it in either. Counted over all "
        "pixels of all images together, at the size of their files; void ones count for nothing. mIoU and Dice above "
        "are means over the classes that the images show."
    ]
    if absent:
        names = ", ".join(absent[:20]) + (f" and {len(absent) - 20} more" if len(absent) > 20 else "")
        those = "it" if len(absent) == 1 else "them"
        notes.append(f"No image of {evidence.split} shows {names}: nothing is known of {those}.")
    return section(
        "IoU, precision and recall per class",
        *(f"<p>{escape(note)}</p>" for note in notes),
        html_table(columns, shown, sortable=True),
    )
