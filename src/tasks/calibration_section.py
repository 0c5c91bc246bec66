"""The report's section about calibrated probabilities, of tasks with scores of classes."""

import numpy as np

from src.evaluation.calibration import Floats, reliability, to_probabilities
from src.evaluation.evidence import Evidence
from src.reports.charts import draw_reliability
from src.reports.parts import section
from src.reports.run_report import RunReport
from src.training.scores_task import CalibratedTask


def probabilities_of(task: CalibratedTask, evidence: Evidence, calibrated: bool = True) -> Floats:
    """[N, K]."""
    logits_NK = evidence.arrays["outputs"].astype(np.float64)
    return to_probabilities(logits_NK / task.temperature if calibrated else logits_NK, task.one_class)


def calibration_section(report: RunReport, task: CalibratedTask, evidence: Evidence, notes: list[str]) -> str:
    """`notes` are HTML."""
    before, after = (
        reliability(probabilities_of(task, evidence, calibrated), evidence.labels, task.one_class)
        for calibrated in (False, True)
    )
    temperature = task.temperature
    tendency = "overconfident" if temperature > 1.02 else "underconfident" if temperature < 0.98 else "well calibrated"
    notes = [
        f"Temperature {temperature:.3f}, fitted on val: the network as trained is {tendency}. Expected calibration "
        f"error (15 equal bins): {before.expected_error:.4f} as trained, {after.expected_error:.4f} calibrated. "
        "Predictions stay the same; evaluate, predict and export use the calibrated probabilities.",
        *notes,
    ]
    if report.own_data and evidence.split == "val":
        notes.append("The temperature was fitted on these very images, so the calibrated error is optimistic.")
    if len(evidence) < 500:
        notes.append(f"With {len(evidence):,} images most bins hold a handful: read the bars with that in mind.")
    figure = report.figure("report/reliability", draw_reliability(before, after), "Reliability diagram")
    return section("Calibration", *(f"<p>{note}</p>" for note in notes), figure)
