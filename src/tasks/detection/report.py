"""The report about a detector."""

from src.evaluation.boxes.average_precision import ap_intervals
from src.evaluation.boxes.matches import Matches
from src.evaluation.boxes.matching import match
from src.evaluation.evidence import Evidence
from src.evaluation.intervals import Interval
from src.reports.run_report import RunReport, TaskWords
from src.tasks.detection.metrics import true_boxes
from src.tasks.detection.task import DetectionTask

HEADLINE = ["ap", "ap50", "ap75"]
EXPORTED = HEADLINE[:2]


def words(class_names: list[str]) -> TaskWords:
    does = f"finds objects of {len(class_names)} classes, each with a box"
    return TaskWords(does, "classes", "object-detection", "object-detection")


def matches_of(task: DetectionTask, evidence: Evidence) -> Matches:
    boxes = evidence.labels
    truth = true_boxes([boxes.rows_of(n) for n in range(len(boxes))])
    return match(evidence.arrays["detections"], truth, len(task.class_names))


def intervals(task: DetectionTask, evidence: Evidence) -> dict[str, Interval]:
    return ap_intervals(matches_of(task, evidence), evidence.groups_N)


def tables(task: DetectionTask, evidence: Evidence) -> dict[str, tuple[list[str], list[list[str]]]]:
    return {}


def sections(report: RunReport, task: DetectionTask) -> list[str]:
    return []
