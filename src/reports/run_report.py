"""What the page about a run is made of: values, measured before."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from src.data.table import ImageTable
from src.evaluation.evidence import Evidence
from src.evaluation.intervals import Interval
from src.reports.parts import chart

Tables = dict[str, tuple[list[str], list[list[str]]]]  # columns and rows by name: <split>_<name>.csv


@dataclass(frozen=True)
class TaskWords:
    """What a task is called in a report. `does`: such as "says which of 10 classes an image shows"; `outputs`: what the
    outputs of its network stand for, such as classes; `hub_task` and `hub_tag`: its names on model hubs; `data`: of
    which kind, in the words of the settings, other data may be; `explains`: whether src.explain has heat maps.
    """

    does: str
    outputs: str
    hub_task: str
    hub_tag: str
    data: str = "folder"
    explains: bool = True


@dataclass
class RunReport:
    """What a page tells, and what it is made of.

    `table`: of all images. `config`: resolved. `metrics`: as in metrics.json. `environment`: as in environment.json.
    `measured`: evidence by split; the last one is looked at closely. `parameters`: of the network. `epochs`: the lines
    of epochs.csv. `run_dir`: None if only a checkpoint is known. `own_data`: whether the images are of the training's
    data set. `intervals`: 95 %, by metric, such as test/acc. `figures` fill up while the page is made.
    """

    title: str
    table: ImageTable
    config: dict[str, Any]
    metrics: dict[str, Any]
    environment: dict[str, Any]
    measured: list[Evidence]
    parameters: int
    epochs: list[dict[str, str]] = field(default_factory=list)
    run_dir: Path | None = None
    ckpt: Path | None = None
    own_data: bool = True
    intervals: dict[str, Interval] = field(default_factory=dict)
    figures: dict[str, Image.Image] = field(default_factory=dict)

    @property
    def split(self) -> str:
        return self.measured[-1].split

    def figure(self, name: str, image: Image.Image, alt: str) -> str:
        """HTML of a chart, which the loggers get too, by this name."""
        self.figures[name] = image
        return chart(image, alt)

    def metric_text(self, name: str) -> str:
        """`0.9833 [0.9666..0.9944]`."""
        interval = self.intervals.get(name)
        text = number_text(self.metrics.get(name))
        return f"{text} [{number_text(interval[0])}..{number_text(interval[1])}]" if interval else text


def number_text(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"
