"""The report about a segmenter."""

from src.data.table import ImageTable
from src.evaluation.evidence import Evidence
from src.evaluation.intervals import Interval
from src.evaluation.pixels.confusion import pixel_intervals
from src.reports.run_report import RunReport, Tables, TaskWords
from src.tasks.calibration_section import Calibrated, calibration_section
from src.tasks.confusion_section import confusion_section
from src.tasks.segmentation.class_section import CLASS_COLUMNS, class_rows, classes_section
from src.tasks.segmentation.image_section import IMAGE_COLUMNS, image_rows, worst_section
from src.tasks.segmentation.kept import confusion_counts, image_sums, known_pixels
from src.tasks.segmentation.task import SegmentationTask

HEADLINE = ["miou", "acc", "dice"]
EXPORTED = HEADLINE[:2]


def words(class_names: list[str]) -> TaskWords:
    does = f"says of each pixel which of {len(class_names)} classes it belongs to"
    return TaskWords(does, "classes", "image-segmentation", "image-segmentation", data="masks", explains=False)


def intervals(task: SegmentationTask, evidence: Evidence) -> dict[str, Interval]:
    """Of miou, acc and dice, and of the IoU of each class that is there."""
    sums = image_sums(evidence)
    return pixel_intervals(sums, task.class_names, evidence.groups_N) if sums.true.any() else {}


def tables(task: SegmentationTask, table: ImageTable, evidence: Evidence) -> Tables:
    """Of each split the images, which src.compare reads; of test the classes too."""
    found = {"images": (IMAGE_COLUMNS, image_rows(table, evidence))}
    if evidence.split == "test":
        found["classes"] = (CLASS_COLUMNS, class_rows(evidence, task.class_names))
    return found


def sections(report: RunReport, task: SegmentationTask) -> list[str]:
    """Classes, confusion, images and calibration; of the split that is looked at closely."""
    evidence = report.measured[-1]
    logits_MK, truth_M = known_pixels(evidence)
    if not len(truth_M):
        return []
    notes = [
        f"By up to {evidence.arrays['truth'].shape[1]} random pixels of each image, {len(truth_M):,} in all. Pixels of "
        "an image are much alike, so the error is less certain than as many images would make it."
    ]
    return [
        classes_section(report, evidence, task.class_names),
        confusion_section(report, confusion_counts(evidence), task.class_names, "pixels"),
        worst_section(report, task, evidence),
        calibration_section(report, Calibrated(logits_MK, truth_M, task.temperature, True, "pixels"), notes),
    ]
