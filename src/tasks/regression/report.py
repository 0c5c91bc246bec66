"""The report about a model that predicts numbers."""

import numpy as np
import torch

from src.data.table import ImageTable
from src.evaluation.evidence import Evidence
from src.evaluation.intervals import Floats, Interval, bootstrap
from src.reports.charts import draw_errors
from src.reports.parts import html_table, image_cards, section
from src.reports.run_report import RunReport, Tables, TaskWords
from src.tasks.regression.task import RegressionTask

HEADLINE = ["mae", "rmse", "r2"]
EXPORTED = HEADLINE[:2]
MISTAKES = 24
PLOTS = 8  # targets


def words(class_names: list[str]) -> TaskWords:
    does = f"reads {len(class_names)} number{'s' if len(class_names) > 1 else ''} from an image"
    return TaskWords(does, "targets", "image-feature-extraction", "regression")  # hubs have no task of this kind


def values_of(task: RegressionTask, evidence: Evidence) -> Floats:
    """Predicted numbers [N, T], in the units of the labels."""
    named = task.output_layer().arrays(torch.from_numpy(evidence.arrays["outputs"]))
    values_NT: Floats = named["values"].astype(np.float64)
    return values_NT


def intervals(task: RegressionTask, evidence: Evidence) -> dict[str, Interval]:
    """Of mae, rmse and r2, means over the targets (as in task.py)."""
    labels_NT = evidence.labels.astype(np.float64)
    errors_NT = values_of(task, evidence) - labels_NT

    def measure(weights_N: Floats) -> dict[str, float]:
        share_N = weights_N / weights_N.sum()
        squared_T = share_N @ np.square(errors_NT)
        variance_T = share_N @ np.square(labels_NT - share_N @ labels_NT)
        varies_T = variance_T > 1e-12 * (share_N @ np.square(labels_NT))  # more than rounding leaves
        return {
            "mae": float((share_N @ np.abs(errors_NT)).mean()),
            "rmse": float(np.sqrt(squared_T).mean()),
            "r2": float(np.where(varies_T, 1 - squared_T / np.where(varies_T, variance_T, 1), 0).mean()),
        }

    return bootstrap(measure, len(labels_NT), evidence.groups_N)


def tables(task: RegressionTask, table: ImageTable, evidence: Evidence) -> Tables:
    """None beside the page."""
    return {}


def sections(report: RunReport, task: RegressionTask) -> list[str]:
    """Errors of each target, and the images with the largest ones; of the split that is looked at closely."""
    evidence = report.measured[-1]
    values_NT = values_of(task, evidence)
    return [errors_section(report, evidence, values_NT), mistakes_section(report, task, evidence, values_NT)]


def errors_section(report: RunReport, evidence: Evidence, values_NT: Floats) -> str:
    labels_NT, names = evidence.labels.astype(np.float64), report.table.class_names
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
    return section("Errors per target", html_table(columns, rows, sortable=True), more, *charts)


def mistakes_section(report: RunReport, task: RegressionTask, evidence: Evidence, values_NT: Floats) -> str:
    """By the error in standard deviations of the training labels, the largest of the targets."""
    errors_NT = np.abs(values_NT - evidence.labels) / task.std_T.cpu().numpy()
    worst = np.argsort(-errors_NT.max(axis=1), kind="stable")[:MISTAKES]
    cards = [
        (int(evidence.rows_N[n]), "; ".join(f"{value:.4g}" for value in values_NT[n]), True, "")
        for n in worst.tolist()
    ]  # fmt: skip
    return section(
        "Worst mistakes", "<p>The largest errors. Predicted, and the label.</p>", image_cards(report.table, cards)
    )
