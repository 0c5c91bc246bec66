"""The report's section about calibrated probabilities, of tasks with scores of classes.

Shapes: N answers, K classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from src.evaluation.calibration import Floats, reliability, to_probabilities
from src.evaluation.evidence import Evidence
from src.reports.charts import draw_reliability
from src.reports.parts import section
from src.reports.run_report import RunReport
from src.training.scores_task import CalibratedTask


@dataclass(frozen=True)
class Calibrated:
    """`logits_NK` as trained, by which temperature they are divided, and the labels, as of src/evaluation/calibration.

    `what`: of which there are N.
    """

    logits_NK: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    temperature: float
    one_class: bool
    what: str = "images"

    @classmethod
    def of(cls, task: CalibratedTask, evidence: Evidence) -> "Calibrated":
        return cls(evidence.arrays["outputs"], evidence.labels, task.temperature, task.one_class)

    def probabilities(self, calibrated: bool = True) -> Floats:
        """[N, K]."""
        logits_NK = self.logits_NK.astype("float64")
        return to_probabilities(logits_NK / self.temperature if calibrated else logits_NK, self.one_class)


def probabilities_of(task: CalibratedTask, evidence: Evidence) -> Floats:
    """[N, K]."""
    return Calibrated.of(task, evidence).probabilities()


def calibration_section(report: RunReport, answers: Calibrated, notes: list[str]) -> str:
    """Of the split that is looked at closely; `notes` are HTML."""
    before, after = (
        reliability(answers.probabilities(calibrated), answers.labels, answers.one_class)
        for calibrated in (False, True)
    )
    temperature = answers.temperature
    tendency = "overconfident" if temperature > 1.02 else "underconfident" if temperature < 0.98 else "well calibrated"
    notes = [
        f"Temperature {temperature:.3f}, fitted on val: the network as trained is {tendency}. Expected calibration "
        f"error (15 equal bins): {before.expected_error:.4f} as trained, {after.expected_error:.4f} calibrated. "
        "Predictions stay the same; evaluate, predict and export use the calibrated probabilities.",
        *notes,
    ]
    if report.own_data and report.split == "val":
        notes.append("The temperature was fitted on these very images, so the calibrated error is optimistic.")
    if len(answers.labels) < 500:
        few = f"{len(answers.labels):,} {answers.what}"
        notes.append(f"With {few} most bins hold a handful: read the bars with that in mind.")
    figure = report.figure("report/reliability", draw_reliability(before, after), "Reliability diagram")
    return section("Calibration", *(f"<p>{note}</p>" for note in notes), figure)
