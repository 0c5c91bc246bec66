"""Sections of the page about a model that predicts numbers."""

import numpy as np
import torch

from src.evaluation import analysis
from src.evaluation.calibration import Floats
from src.reports.charts import draw_errors
from src.reports.parts import html_table
from src.reports.run import RunReport, image_cards, section
from src.runs.results import SplitOutputs
from src.tasks.regression.task import RegressionTask

HEADLINE = ["mae", "rmse", "r2"]
MISTAKES = 24
PLOTS = 8  # targets


def values_of(report: RunReport, outputs: SplitOutputs) -> Floats:
    """Predicted numbers [N, T], in the labels' units."""
    assert isinstance(report.task, RegressionTask)
    named = report.task.output_layer().arrays(torch.from_numpy(outputs.outputs_NK))
    values_NT: Floats = named["values"].astype(np.float64)
    return values_NT


def add_intervals(report: RunReport) -> None:
    for outputs in report.measured:
        labels_NT = outputs.labels.astype(np.float64)
        found = analysis.regression_intervals(values_of(report, outputs), labels_NT, outputs.groups)
        report.intervals |= {f"{outputs.split}/{name}": interval for name, interval in found.items()}


def sections(report: RunReport) -> list[str]:
    """Errors of each target, and the images with the largest ones; of the split that is looked at closely."""
    outputs = report.measured[-1]
    return [errors_section(report, outputs), mistakes_section(report, outputs)]


def errors_section(report: RunReport, outputs: SplitOutputs) -> str:
    values_NT, labels_NT = values_of(report, outputs), outputs.labels.astype(np.float64)
    names = outputs.table.class_names
    errors_NT = values_NT - labels_NT
    rows = []
    for t, name in enumerate(names):
        spread = float(labels_NT[:, t].std())
        rmse = float(np.sqrt(np.square(errors_NT[:, t]).mean()))
        explained = f"{1 - (rmse / spread) ** 2:.4f}" if spread else ""
        median, most = (float(np.percentile(np.abs(errors_NT[:, t]), q)) for q in (50, 95))
        numbers = [float(np.abs(errors_NT[:, t]).mean()), rmse, float(errors_NT[:, t].mean()), median, most, spread]
        rows.append([name, *(f"{number:.4g}" for number in numbers), explained])
    columns = ["target", "MAE", "RMSE", "mean error", "median error", "95 % below", "std of the labels", "R²"]
    charts = []
    for t, name in enumerate(names[:PLOTS]):
        image = draw_errors(labels_NT[:, t], values_NT[:, t], name)
        charts.append(report.figure(f"report/errors/{t}", image, f"Predicted and true {name}"))
    more = f"<p>Charts of the first {PLOTS} targets.</p>" if len(names) > PLOTS else ""
    return section("Errors", html_table(columns, rows, sortable=True), more, *charts)


def mistakes_section(report: RunReport, outputs: SplitOutputs) -> str:
    """By the error in standard deviations of the training labels, the largest of the targets."""
    assert isinstance(report.task, RegressionTask)
    values_NT = values_of(report, outputs)
    errors_NT = np.abs(values_NT - outputs.labels) / report.task.std_T.cpu().numpy()
    worst = np.argsort(-errors_NT.max(axis=1), kind="stable")[:MISTAKES]
    cards = [
        (int(outputs.rows_N[n]), "; ".join(f"{value:.4g}" for value in values_NT[n]), True, "")
        for n in worst.tolist()
    ]  # fmt: skip
    return section("Largest errors", "<p>Predicted, and the label.</p>", image_cards(outputs.table, cards))
