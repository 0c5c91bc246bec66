"""The report about a segmenter."""

from src.data.table import ImageTable
from src.evaluation.evidence import Evidence
from src.evaluation.intervals import Interval
from src.evaluation.pixels.confusion import pixel_intervals
from src.reports.run_report import RunReport, Tables, TaskWords
from src.tasks.segmentation.task import SegmentationTask

HEADLINE = ["miou", "acc", "dice"]
EXPORTED = HEADLINE[:2]


def words(class_names: list[str]) -> TaskWords:
    does = f"says of each pixel which of {len(class_names)} classes it belongs to"
    return TaskWords(does, "classes", "image-segmentation", "image-segmentation", data="masks")


def intervals(task: SegmentationTask, evidence: Evidence) -> dict[str, Interval]:
    """Of miou, acc and dice."""
    return pixel_intervals(evidence.arrays["confusion"], evidence.groups_N)


def tables(task: SegmentationTask, table: ImageTable, evidence: Evidence) -> Tables:
    return {}


def sections(report: RunReport, task: SegmentationTask) -> list[str]:
    return []
