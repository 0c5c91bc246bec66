"""Types of the settings of the commands about labels; see schema.py."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from src.settings import nodes


@dataclass
class LabelIssuesConfig:
    runs: Any = MISSING  # a path, or several
    every: bool = MISSING
    output: str = MISSING
    overwrite: bool = MISSING
    spreadsheet_safe: bool = MISSING


@dataclass
class LabelNextConfig:
    ckpt: str = MISSING
    images: str = MISSING
    root: str | None = MISSING
    count: nodes.Count = MISSING
    output: str = MISSING
    batch_size: nodes.Count | None = MISSING
    num_workers: nodes.CountOrZero | None = MISSING
    accelerator: nodes.Accelerator = MISSING
    trust: bool = MISSING
    overwrite: bool = MISSING
    spreadsheet_safe: bool = MISSING
