"""Types of the settings of each command, conf/<command>.yaml, made known to Hydra. Imports no torch."""

from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from src.settings import nodes
from src.settings.backbones import BACKBONES, OWN_HEADS
from src.settings.data_commands import CheckConfig, ChooseConfig
from src.settings.label_schemas import LabelIssuesConfig, LabelNextConfig
from src.settings.project import CONF_DIR
from src.settings.rules import at_least, more_than, one_of
from src.settings.timm_options import register_timm

Accelerator = nodes.Accelerator
Split = Annotated[str, one_of("train", "val", "test", "all")]
Views = Annotated[str, one_of("mirror", "scales", "mirror_scales")]  # of an image


@dataclass
class TrainConfig:
    name: str = MISSING
    recipe: str | None = MISSING
    seed: Annotated[int, at_least(0, at_most=2**32 - 1)] = MISSING
    resume: str | None = MISSING
    output_dir: str = MISSING
    channels_last: bool = MISSING
    compile: bool = MISSING
    matmul_precision: Annotated[str, one_of("highest", "high", "medium")] = MISSING
    test: bool = MISSING
    ema_decay: Annotated[float, more_than(0, at_most=1)] | None = MISSING
    soup: Annotated[int, at_least(0, at_most=100)] = MISSING
    checkpoint_every_n_steps: nodes.Count | None = MISSING
    on_nonfinite_loss: Annotated[str, one_of("stop", "skip")] = MISSING
    lr_find: bool = MISSING
    batch_size_find: bool = MISSING
    trust: bool = MISSING
    spreadsheet_safe: bool = MISSING
    param_groups: nodes.ParameterGroupsConfig = field(default_factory=nodes.ParameterGroupsConfig)
    backbone: nodes.BackboneConfig = field(default_factory=nodes.BackboneConfig)
    head: Annotated[dict[str, Any], nodes.HeadSettings] = field(default_factory=dict)
    freeze: nodes.FreezeConfig = field(default_factory=nodes.FreezeConfig)
    loss: Annotated[dict[str, Any], nodes.LossSettings] = field(default_factory=dict)
    optimizer: Annotated[dict[str, Any], nodes.OptimizerSettings] = field(default_factory=dict)
    scheduler: Annotated[dict[str, Any], nodes.SchedulerSettings] = field(default_factory=dict)
    augment: nodes.Augmentation = field(default_factory=nodes.Augmentation)
    data: Annotated[dict[str, Any], nodes.DataValues] = field(default_factory=dict)
    task: nodes.TaskConfig = field(default_factory=nodes.TaskConfig)
    trainer: Annotated[dict[str, Any], nodes.TrainerSettings] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)


def train_config(settings: DictConfig) -> TrainConfig:
    """Typed, free-form groups as plain dicts, with nothing left to compute."""
    return cast(TrainConfig, OmegaConf.to_object(settings))


@dataclass
class EvaluateConfig:
    ckpt: Any = MISSING  # a path, or several
    tta: Views | None = MISSING
    split: Split | None = MISSING
    report: str | None = MISSING
    output: str | None = MISSING
    accelerator: Accelerator = MISSING
    trust: bool = MISSING
    overwrite: bool = MISSING
    data: Annotated[dict[str, Any], nodes.DataValues] = field(default_factory=dict)


@dataclass
class ImagesConfig:
    """Of the commands that answer for images."""

    ckpt: str = MISSING
    images: str = MISSING
    root: str | None = MISSING
    output: str = MISSING
    batch_size: nodes.Count = MISSING
    accelerator: Accelerator = MISSING
    trust: bool = MISSING
    overwrite: bool = MISSING
    spreadsheet_safe: bool = MISSING


@dataclass
class PredictConfig(ImagesConfig):
    ckpt: Any = MISSING  # a path, or several
    tta: Views | None = MISSING
    batch_size: nodes.Count | None = MISSING  # type: ignore[assignment]
    draw: str | None = MISSING
    masks: str | None = MISSING
    score_threshold: nodes.Share | None = MISSING
    tile_px: Annotated[int, at_least(32)] | None = MISSING
    tile_overlap: Annotated[float, at_least(0, at_most=0.9)] = MISSING
    abstain_below: nodes.Share | None = MISSING
    embeddings: bool = MISSING
    num_workers: nodes.CountOrZero | None = MISSING


@dataclass
class ExplainConfig(ImagesConfig):
    class_name: str | None = MISSING


@dataclass
class CompareConfig:
    runs: Any = MISSING  # a path, several, or a list of them for each side
    metric: str | None = MISSING
    split: Annotated[str, one_of("val", "test")] | None = MISSING
    output: str = MISSING
    overwrite: bool = MISSING


@dataclass
class PublishConfig:
    ckpt: str = MISSING
    output: str = MISSING
    files: list[str] = MISSING
    repo: str | None = MISSING
    public: bool = MISSING


@dataclass
class ServeConfig:
    ckpt: Any = MISSING  # a path, or several
    model: str | None = MISSING
    host: str = MISSING
    port: Annotated[int, at_least(0, at_most=65535)] = MISSING
    allowed_hosts: list[str] | None = MISSING
    abstain_below: nodes.Share | None = MISSING
    score_threshold: nodes.Share | None = MISSING
    top_k: nodes.Count | None = MISSING
    max_upload_mb: nodes.Positive = MISSING
    max_images: nodes.Count = MISSING
    max_megapixels: nodes.Positive = MISSING
    max_pending: nodes.Count = MISSING
    max_connections: nodes.Count | None = MISSING
    timeout_seconds: nodes.Positive = MISSING
    batch_size: nodes.Count = MISSING
    batch_wait_ms: Annotated[float, at_least(0, at_most=1000)] = MISSING
    decode_threads: nodes.Count | None = MISSING
    decode_megapixels: nodes.Positive | None = MISSING
    accelerator: Accelerator = MISSING
    trust: bool = MISSING


@dataclass
class ExportConfig:
    ckpt: Any = MISSING  # a path, or several
    tta: Views | None = MISSING
    format: Annotated[str, one_of("onnx", "torch")] = MISSING
    output: str | None = MISSING
    variants: list[str] = MISSING
    images: str | None = MISSING
    test_images: nodes.CountOrZero = MISSING
    calibration_images: nodes.Count = MISSING
    latency: bool = MISSING
    trust: bool = MISSING
    overwrite: bool = MISSING


@cache
def register() -> None:
    """Make the schemas and the backbones known to Hydra, once. `conf/backbone/*.yaml` wins over generated options."""
    store = ConfigStore.instance()
    # Hydra 1.3 copies it, and only reads the copy, to list a group: over a hundred times for --help, in two seconds.
    ConfigStore.__deepcopy__ = lambda store, memo: store  # type: ignore[attr-defined]
    for schema in SCHEMAS:
        # At the top level and not in a group of its own, which --help would list among the groups to choose from.
        store.store(name=f"{schema.__name__.removesuffix('Config').lower()}_schema", node=schema)
    for name in BACKBONES:
        if not (CONF_DIR / "backbone" / f"{name}.yaml").exists():
            store.store(group="backbone", name=name, node={"name": name, "weights": "DEFAULT"}, package="backbone")
    for name, head in OWN_HEADS.items():
        node = {"defaults": [{"override /head": head}], "backbone": {"name": name, "weights": "DEFAULT"}}
        store.store(group="backbone", name=name, node=node, package="_global_")
    register_timm()


SCHEMAS = (
    TrainConfig, EvaluateConfig, PredictConfig, CompareConfig, PublishConfig, ServeConfig, ExplainConfig, ExportConfig,
    CheckConfig, ChooseConfig, LabelIssuesConfig, LabelNextConfig,
)  # fmt: skip
