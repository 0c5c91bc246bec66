"""Mean and spread of jobs that differ in their seed or fold alone: they are repetitions of one another.

Over seeds there is the 95 % confidence interval of the mean too (Student's t): what other seeds would give on the
same images. Over folds there is none. Folds share training images, so their scores are not independent, the t interval
is too narrow, and nothing estimates the variance without bias (Bengio & Grandvalet 2004, JMLR 5:1089).
"""

import statistics
from collections.abc import Callable
from typing import Any

from src.evaluation.student_t import t_interval

Row = dict[str, Any]
REPEATED = ("seed", "data.fold")


def summary(group: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with mean, std (of the sample), min, max and interval of every number over repetitions of a job."""
    functions: dict[str, Callable[[list[Any]], Any]]
    functions = {"mean": statistics.mean, "std": statistics.stdev, "min": min, "max": max}
    if not over_folds(group):
        functions |= {
            "ci95_low": lambda values: t_interval(values)[0],
            "ci95_high": lambda values: t_interval(values)[1],
        }
    columns = {key: [row.get(key) for row in group] for key in group[0] if key not in ("job", "status", *REPEATED)}
    rows = []
    for status, function in functions.items():
        row: dict[str, Any] = {"job": f"{len(group)} jobs", "status": status}
        for key, values in columns.items():
            if all(isinstance(value, int | float) for value in values):
                row[key] = function(values)
            elif len(set(values)) == 1:
                row[key] = values[0]
        rows.append(row)
    return rows


def spread_text(group: list[dict[str, Any]], name: str) -> str:
    """`0.9420, 95 % CI 0.9358..0.9482, std 0.0050 [0.9346..0.9477]`; over folds without the interval."""
    scores = [float(row[name]) for row in group]
    interval = "" if over_folds(group) else " 95 % CI {:.4f}..{:.4f},".format(*t_interval(scores))
    limits = f"[{min(scores):.4f}..{max(scores):.4f}]"
    return f"{statistics.mean(scores):.4f},{interval} std {statistics.stdev(scores):.4f} {limits}"


def over_folds(group: list[dict[str, Any]]) -> bool:
    return len({row.get("data.fold") for row in group}) > 1
