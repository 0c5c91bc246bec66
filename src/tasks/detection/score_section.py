"""The report's section about calibrated scores of boxes."""

from src.evaluation.boxes.calibration import BINS, box_reliability, detection_calibration_error
from src.evaluation.evidence import Evidence
from src.reports.charts import draw_reliability
from src.reports.parts import section
from src.reports.run_report import RunReport
from src.settings.plurals import number_of
from src.tasks.detection.answers import BoxAnswers
from src.tasks.detection.export import DetectionOutputs


def calibration_section(report: RunReport, evidence: Evidence, answers: BoxAnswers, layer: DetectionOutputs) -> str:
    before, after = box_reliability(answers.raw), box_reliability(answers.matches)
    if not before.counts.any():
        return ""
    boxes = int(before.counts.sum())
    said = number_of(boxes, "box", "boxes")
    notes = [
        f"A box is right if it is matched at IoU 0.5. Calibrated score: sigmoid({layer.slope:.3f} · logit(score) "
        f"{layer.shift:+.3f}), fitted on val by maximum likelihood with a weak prior (Platt 1999); the order of the "
        "boxes, and so AP, stays. predict, export and serve use the calibrated scores.",
        f"D-ECE (Küppers et al. 2020; {BINS} bins of equal width, by score alone, over all {said} that the "
        f"network gives): {before.expected_error:.4f} as trained, {after.expected_error:.4f} calibrated. Most of these "
        "have low scores and are wrong, which is easily said; of the answers alone it is "
        f"{detection_calibration_error(answers.accepted):.4f}.",
    ]
    if report.own_data and evidence.split == "val":
        notes.append("The scores were calibrated on these very images, so the calibrated error is optimistic.")
    if boxes < 500:
        notes.append(f"With {said} most bins hold a handful: read the bars with that in mind.")
    figure = report.figure("report/reliability", draw_reliability(before, after), "Reliability diagram of scores")
    return section("Calibration of the scores", *(f"<p>{note}</p>" for note in notes), figure)
