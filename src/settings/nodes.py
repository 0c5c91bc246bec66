"""Types of the groups in `conf/`, with the legal values of each setting beside it.

Values and their explanations stand in the yaml files. Groups that name what is built with a `_target_` are free-form:
of their settings those are listed here that several options share or that are typed often, so that a wrong value is
told before torch is imported. The others say it in the signature of what the option names (signatures.py).
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

from omegaconf import MISSING

from src.settings.options import task_names
from src.settings.plain_values import LARGEST_PX
from src.settings.rules import ReadByUs, at_least, more_than, one_of
from src.settings.target_kinds import TARGET_KINDS

PRECISIONS = "auto 32-true 32 bf16-mixed 16-mixed bf16-true 16-true 64-true transformer-engine".split()  # noqa: SIM905

Accelerator = Annotated[str, one_of("auto", "cpu", "gpu", "mps")]
Count = Annotated[int, at_least(1)]
CountOrZero = Annotated[int, at_least(0)]
Share = Annotated[float, at_least(0, at_most=1)]
Positive = Annotated[float, more_than(0)]
PositiveOrZero = Annotated[float, at_least(0)]
SidePx = Annotated[int, at_least(1, at_most=LARGEST_PX)]
Targets = Annotated[str, one_of(*TARGET_KINDS)]  # what the network learns of each image


@dataclass
class BackboneConfig:
    name: str = MISSING
    weights: str | None = MISSING
    stochastic_depth: Share | None = None


@dataclass
class Augmentation:
    """Random changes of training images; conf/augment/none.yaml explains each. The default changes nothing.

    Images are mixed (mixup, cutmix) on the device, see src/training; in the data it only counts that they are.
    """

    crop_scale_min: Annotated[float, more_than(0, at_most=1)] | None = None
    horizontal_flip: Share = 0.0
    vertical_flip: Share = 0.0
    rotation_degrees: Annotated[float, at_least(0, at_most=180)] = 0.0
    color_jitter: Share = 0.0
    policy: Annotated[str, one_of("trivial", "rand", "augmix")] | None = None
    erasing: Share = 0.0
    zoom_out: Share = 0.0
    iou_crop: Share = 0.0
    scale_jitter: Annotated[float, at_least(0, at_most=0.9)] = 0.0
    mixup: PositiveOrZero = 0.0
    cutmix: PositiveOrZero = 0.0
    crop_px: Count | None = None


@dataclass
class ParameterGroupsConfig:
    layer_decay: Annotated[float, more_than(0, at_most=1)] = MISSING
    head_lr_factor: Positive = MISSING
    decay_norms_and_biases: bool = MISSING


@dataclass
class TaskConfig:
    name: Annotated[str, one_of(*task_names())] = MISSING
    targets: Targets = MISSING
    monitor: str = MISSING
    mode: Annotated[str, one_of("max", "min")] = MISSING


class HeadSettings(TypedDict, total=False):
    dropout: Share
    hidden_features: Count
    start: Annotated[str, one_of("small", "pretrained"), ReadByUs]
    targets: Annotated[Targets, ReadByUs]
    channels: Annotated[int, at_least(64)]
    convs: Annotated[int, at_least(1, at_most=8)]
    strides: list[Annotated[int, one_of("4", "8", "16", "32")]] | None
    anchor_strides: Positive
    proposals: Count
    samples: Count
    norms: Annotated[str | None, one_of("frozen", "train")]


class LossSettings(TypedDict, total=False):
    targets: Annotated[Targets, ReadByUs]
    class_weights: Annotated[str | None, one_of("inverse", "effective"), ReadByUs]
    label_smoothing: Share
    gamma: PositiveOrZero
    dice_share: Share
    tau: PositiveOrZero
    delta: Positive


class OptimizerSettings(TypedDict, total=False):
    lr: Positive
    weight_decay: PositiveOrZero
    momentum: Share
    alpha: Share
    eps: PositiveOrZero
    nesterov: bool


class SchedulerSettings(TypedDict, total=False):
    interval: Annotated[str, one_of("step", "epoch"), ReadByUs]
    warmup_epochs: PositiveOrZero
    warmup_fraction: Share
    milestones: list[Share]
    final_factor: Share
    gamma: Share
    factor: Share
    patience: CountOrZero
    min_lr: PositiveOrZero


@dataclass
class PhaseConfig:
    """One phase of a freeze plan; `optimizer` and `scheduler` override single settings of the groups."""

    train: str = MISSING
    epochs: Count | None = None
    lr_factor: Positive = 1.0
    optimizer: Annotated[dict[str, Any], OptimizerSettings] = field(default_factory=dict)
    scheduler: Annotated[dict[str, Any], SchedulerSettings] = field(default_factory=dict)


@dataclass
class FreezeConfig:
    """`batch_norm`: BatchNorm in front of the head stays as it was pretrained, where the layers around it train too.

    None: with pretrained weights, unless objects or pixels are found, whose heads have `norms` for it.
    """

    phases: list[PhaseConfig] = MISSING
    batch_norm: bool | None = None


class DataSettings(TypedDict, total=False):
    """Of all data formats."""

    batch_size: Count
    num_workers: CountOrZero | None
    image_size_px: SidePx | None
    resize_px: SidePx | None
    resize_mode: Annotated[str | None, one_of("crop", "fit", "stretch")]
    mirror_safe: bool
    crop_safe: bool
    val_fraction: Annotated[float, more_than(0, at_most=0.9)]
    test_fraction: Annotated[float | None, at_least(0, at_most=0.9)]
    split_seed: int
    split_file: str | None
    folds: Annotated[int | None, at_least(2)]
    fold: CountOrZero
    balanced_sampling: bool
    max_megapixels: Positive
    on_error: Annotated[str, one_of("skip", "fail")]
    cache: Annotated[str, one_of("auto", "none", "images", "features")]
    cache_views: Count | None
    cache_dir: str
    cache_gb: PositiveOrZero | None


class DataValues(DataSettings, total=False):
    """And of some formats, whose classes take these by name."""

    without_boxes: Annotated[str, one_of("keep", "drop")]


class TrainerSettings(TypedDict, total=False):
    """Of lightning.Trainer, those that have limits which Lightning tells late or not at all."""

    max_epochs: Count
    accumulate_grad_batches: Count
    gradient_clip_val: Positive | None
    num_nodes: Count
    deterministic: bool
    devices: int | str | list[Any]
    strategy: str | dict[str, Any]  # a word, or what is to be built
    precision: Annotated[str | None, one_of(*PRECISIONS)]
