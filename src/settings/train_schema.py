"""Types of the settings of `conf/train.yaml`."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from omegaconf import MISSING

from src.settings.nodes import (
    Augmentation,
    BackboneConfig,
    Count,
    DataSettings,
    FreezeConfig,
    HeadSettings,
    LossSettings,
    OptimizerSettings,
    ParameterGroupsConfig,
    SchedulerSettings,
    TaskConfig,
    TrainerSettings,
)
from src.settings.rules import at_least, more_than, one_of


@dataclass
class TrainConfig:
    name: str = MISSING
    seed: Annotated[int, at_least(0, at_most=2**32 - 1)] = MISSING
    resume: str | None = MISSING
    output_dir: str = MISSING
    channels_last: bool = MISSING
    compile: bool = MISSING
    matmul_precision: Annotated[str, one_of("highest", "high", "medium")] = MISSING
    test: bool = MISSING
    ema_decay: Annotated[float, more_than(0, at_most=1)] | None = MISSING
    soup: Annotated[int, at_least(0, at_most=100)] = MISSING
    checkpoint_every_n_steps: Count | None = MISSING
    on_nonfinite_loss: Annotated[str, one_of("stop", "skip")] = MISSING
    lr_find: bool = MISSING
    batch_size_find: bool = MISSING
    trust: bool = MISSING
    spreadsheet_safe: bool = MISSING
    param_groups: ParameterGroupsConfig = field(default_factory=ParameterGroupsConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    head: Annotated[dict[str, Any], HeadSettings] = field(default_factory=dict)
    freeze: FreezeConfig = field(default_factory=FreezeConfig)
    loss: Annotated[dict[str, Any], LossSettings] = field(default_factory=dict)
    optimizer: Annotated[dict[str, Any], OptimizerSettings] = field(default_factory=dict)
    scheduler: Annotated[dict[str, Any], SchedulerSettings] = field(default_factory=dict)
    augment: Augmentation = field(default_factory=Augmentation)
    data: Annotated[dict[str, Any], DataSettings] = field(default_factory=dict)
    task: TaskConfig = field(default_factory=TaskConfig)
    trainer: Annotated[dict[str, Any], TrainerSettings] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)
