"""What a model card is made of: plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from src.evaluation.intervals import Interval
from src.reports.run_report import TaskWords


@dataclass(frozen=True)
class CardFacts:
    """`config`: the resolved settings. `metrics`, `environment`: as in metrics.json and environment.json.

    `class_names`: what the K outputs stand for, as the data name them. `split_counts`: images by split, damaged ones
    included. `class_counts`: images of each class [K] by split; empty where there are no classes. `unreadable`: damaged
    images that were skipped. `calibration`: what the checkpoint carries, if anything. `intervals`: 95 %, by metric.
    """

    words: TaskWords
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    environment: Mapping[str, Any]
    class_names: list[str]
    split_counts: Mapping[str, int]
    class_counts: Mapping[str, list[int]]
    unreadable: int = 0
    calibration: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
