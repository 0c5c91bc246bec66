"""The report about a detector with masks: what detection's says of boxes, of masks."""

from src.data.table import ImageTable
from src.evaluation.boxes.average_precision import ap_intervals
from src.evaluation.evidence import Evidence
from src.evaluation.intervals import Interval
from src.reports.run_report import RunReport, Tables, TaskWords
from src.settings.plurals import number_of
from src.tasks.detection import report as of_boxes
from src.tasks.detection.answers import match_boxes
from src.tasks.detection.metrics import BoxMetrics
from src.tasks.instance_segmentation.task import BOX_NAMES, InstanceSegmentationTask

HEADLINE = ["mask_ap", "mask_ap50", "box_ap", "f1"]
EXPORTED = HEADLINE[:2]
NOTE = (
    "<p>Here an answer is right, missed or badly placed by the IoU of its mask with that of the true object, and an "
    "object is as large as its mask has pixels; only box_ap and box_ap50 are of the boxes.</p>"
)


def words(class_names: list[str]) -> TaskWords:
    does = f"finds objects of {number_of(len(class_names), 'class', 'classes')}, each with a box and a mask"
    return TaskWords(does, "classes", "image-segmentation", "image-segmentation", data="coco")


def intervals(task: InstanceSegmentationTask, evidence: Evidence) -> dict[str, Interval]:
    """Of mask_ap and mask_ar, box_ap and box_ap50, and of precision, recall and f1 at the thresholds."""
    found = {
        f"mask_{name}" if name in BoxMetrics.names else name: interval
        for name, interval in of_boxes.intervals(task, evidence).items()
    }
    if not found:
        return {}
    boxes = ap_intervals(match_boxes(evidence, len(task.class_names)), evidence.groups_N)
    return found | {f"box_{name}": boxes[name] for name in BOX_NAMES if name in boxes}


def tables(task: InstanceSegmentationTask, table: ImageTable, evidence: Evidence) -> Tables:
    return of_boxes.tables(task, table, evidence)


def sections(report: RunReport, task: InstanceSegmentationTask) -> list[str]:
    return [NOTE, *of_boxes.sections(report, task)]
