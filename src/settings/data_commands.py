"""Types of the settings of src.check and src.choose: commands that look at the data of a task. Imports no torch."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from omegaconf import MISSING

from src.settings import nodes
from src.settings.rules import at_least


@dataclass
class DataConfig:
    """What both have."""

    output: str = MISSING
    overwrite: bool = MISSING
    spreadsheet_safe: bool = MISSING
    data: Annotated[dict[str, Any], nodes.DataValues] = field(default_factory=dict)
    task: nodes.TaskConfig = field(default_factory=nodes.TaskConfig)
    trainer: Annotated[dict[str, Any], nodes.TrainerSettings] = field(default_factory=dict)
    # What some tasks choose, and nobody reads here.
    loss: Annotated[dict[str, Any], nodes.LossSettings] = field(default_factory=dict)
    head: Annotated[dict[str, Any], nodes.HeadSettings] = field(default_factory=dict)
    augment: nodes.Augmentation = field(default_factory=nodes.Augmentation)
    param_groups: dict[str, Any] = field(default_factory=dict)


@dataclass
class CheckConfig(DataConfig):
    tiny_px: nodes.CountOrZero = MISSING
    near_duplicate_bits: Annotated[int, at_least(0, at_most=32)] | None = MISSING


@dataclass
class ChooseConfig(DataConfig):
    backbones: Any = MISSING  # a name, or several
    preset: str = MISSING
    presets: dict[str, list[str]] = MISSING
    budget_minutes: nodes.Positive | None = MISSING


UNREAD: dict[type, tuple[str, ...]] = {  # by the command, the groups of which a setting is of no use
    CheckConfig: ("loss", "head", "augment", "param_groups", "trainer"),
    ChooseConfig: ("loss", "head", "augment", "param_groups"),
}
