"""The report about a detector."""

from src.data.table import ImageTable
from src.evaluation.boxes.average_precision import box_intervals
from src.evaluation.boxes.precision_recall import mean_scores
from src.evaluation.evidence import Evidence
from src.evaluation.intervals import Floats, Interval, bootstrap
from src.reports.run_report import RunReport, Tables, TaskWords
from src.settings.plurals import number_of
from src.tasks.detection.answers import BoxAnswers
from src.tasks.detection.class_sections import CLASS_COLUMNS, class_rows, classes_section, curves_section
from src.tasks.detection.error_sections import (
    ERROR_COLUMNS,
    confusion_section,
    error_rows,
    kinds_section,
    sizes_section,
)
from src.tasks.detection.image_sections import IMAGE_COLUMNS, image_rows, worst_section
from src.tasks.detection.score_section import calibration_section
from src.tasks.detection.task import DetectionTask

HEADLINE = ["ap", "ap50", "ap75", "f1"]
EXPORTED = HEADLINE[:2]


def words(class_names: list[str]) -> TaskWords:
    does = f"finds objects of {number_of(len(class_names), 'class', 'classes')}, each with a box"
    return TaskWords(does, "classes", "object-detection", "object-detection", data="coco", explains=False)


def intervals(task: DetectionTask, evidence: Evidence) -> dict[str, Interval]:
    """Of ap and ar, of all boxes and by size, and of precision, recall and f1 at the thresholds."""
    answers = BoxAnswers.of(evidence, task.output_layer())
    accepted, groups_N = answers.accepted, evidence.groups_N
    if not accepted.countable().any():
        return {}

    def measure(weights_N: Floats) -> dict[str, float]:
        return mean_scores(accepted, weights_N)

    return box_intervals(answers.raw, groups_N) | bootstrap(measure, accepted.images, groups_N)


def tables(task: DetectionTask, table: ImageTable, evidence: Evidence) -> Tables:
    """Of each split the images, which src.compare reads; of test the classes and the kinds of errors too."""
    answers = BoxAnswers.of(evidence, task.output_layer())
    found = {"images": (IMAGE_COLUMNS, image_rows(table, evidence, answers))}
    if evidence.split == "test":
        found["classes"] = (CLASS_COLUMNS, class_rows(evidence, answers, task.class_names))
        found["errors"] = (ERROR_COLUMNS, error_rows(answers))
    return found


def sections(report: RunReport, task: DetectionTask) -> list[str]:
    """Classes, errors, scores and images; of the split that is looked at closely."""
    evidence = report.measured[-1]
    answers = BoxAnswers.of(evidence, task.output_layer())
    return [
        classes_section(evidence, answers, task.class_names),
        curves_section(report, answers, task.class_names),
        kinds_section(answers),
        confusion_section(report, answers, task.class_names),
        sizes_section(answers),
        worst_section(report, evidence, answers),
        calibration_section(report, evidence, answers, task.output_layer()),
    ]
