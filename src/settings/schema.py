"""Types of the settings in `conf/`, and the names of the backbones. Imports no torch: bad settings are told at once.

Values and their explanations stand in the yaml files; here are only names and types. Nodes that open with `_target_`
(head, loss, optimizer, scheduler, data, callbacks, logger, trainer) are free-form here, and
`src/settings/signatures.py` compares them with the signature of what they name.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CONF_DIR = PROJECT_ROOT / "conf"

# torchvision.models.list_models(module=torchvision.models); a test compares the two.
BACKBONES = [
    "alexnet",
    "convnext_base",
    "convnext_large",
    "convnext_small",
    "convnext_tiny",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "efficientnet_v2_l",
    "efficientnet_v2_m",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mnasnet0_75",
    "mnasnet1_0",
    "mnasnet1_3",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "regnet_x_16gf",
    "regnet_x_1_6gf",
    "regnet_x_32gf",
    "regnet_x_3_2gf",
    "regnet_x_400mf",
    "regnet_x_800mf",
    "regnet_x_8gf",
    "regnet_y_128gf",
    "regnet_y_16gf",
    "regnet_y_1_6gf",
    "regnet_y_32gf",
    "regnet_y_3_2gf",
    "regnet_y_400mf",
    "regnet_y_800mf",
    "regnet_y_8gf",
    "resnet101",
    "resnet152",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0",
    "squeezenet1_0",
    "squeezenet1_1",
    "swin_b",
    "swin_s",
    "swin_t",
    "swin_v2_b",
    "swin_v2_s",
    "swin_v2_t",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "vit_b_16",
    "vit_b_32",
    "vit_h_14",
    "vit_l_16",
    "vit_l_32",
    "wide_resnet101_2",
    "wide_resnet50_2",
]


@dataclass
class BackboneConfig:
    name: str = MISSING
    weights: str | None = MISSING
    stochastic_depth: float | None = None


@dataclass
class PhaseConfig:
    train: str = MISSING
    epochs: int | None = None
    lr_factor: float = 1.0
    optimizer: dict[str, Any] = field(default_factory=dict)
    scheduler: dict[str, Any] = field(default_factory=dict)


@dataclass
class FreezeConfig:
    phases: list[PhaseConfig] = MISSING


@dataclass
class AugmentConfig:
    crop_scale_min: float | None = MISSING
    crop_px: int | None = MISSING
    horizontal_flip: float = MISSING
    vertical_flip: float = MISSING
    rotation_degrees: float = MISSING
    color_jitter: float = MISSING
    policy: str | None = MISSING
    erasing: float = MISSING
    mixup: float = MISSING
    cutmix: float = MISSING


@dataclass
class ParameterGroupsConfig:
    layer_decay: float = MISSING
    head_lr_factor: float = MISSING
    decay_norms_and_biases: bool = MISSING


@dataclass
class TaskConfig:
    name: str = MISSING
    targets: str = MISSING
    monitor: str = MISSING
    mode: str = MISSING


@dataclass
class TrainConfig:
    name: str = MISSING
    seed: int = MISSING
    resume: str | None = MISSING
    output_dir: str = MISSING
    channels_last: bool = MISSING
    compile: bool = MISSING
    matmul_precision: str = MISSING
    test: bool = MISSING
    ema_decay: float | None = MISSING
    soup: int = MISSING
    checkpoint_every_n_steps: int | None = MISSING
    on_nonfinite_loss: str = MISSING
    lr_find: bool = MISSING
    batch_size_find: bool = MISSING
    trust: bool = MISSING
    spreadsheet_safe: bool = MISSING
    param_groups: ParameterGroupsConfig = field(default_factory=ParameterGroupsConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    head: dict[str, Any] = field(default_factory=dict)
    freeze: FreezeConfig = field(default_factory=FreezeConfig)
    loss: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scheduler: dict[str, Any] = field(default_factory=dict)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    data: dict[str, Any] = field(default_factory=dict)
    task: TaskConfig = field(default_factory=TaskConfig)
    trainer: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)


@dataclass
class EvaluateConfig:
    ckpt: str = MISSING
    split: str | None = MISSING
    report: str | None = MISSING
    output: str | None = MISSING
    accelerator: str = MISSING
    trust: bool = MISSING
    overwrite: bool = MISSING
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class PredictConfig:
    ckpt: str = MISSING
    images: str = MISSING
    root: str | None = MISSING
    output: str = MISSING
    abstain_below: float | None = MISSING
    embeddings: bool = MISSING
    batch_size: int = MISSING
    num_workers: int | None = MISSING
    accelerator: str = MISSING
    trust: bool = MISSING
    overwrite: bool = MISSING
    spreadsheet_safe: bool = MISSING


@dataclass
class CompareConfig:
    runs: Any = MISSING  # a path, several, or a list of them for each side
    metric: str | None = MISSING
    split: str | None = MISSING
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
    ckpt: str | None = MISSING
    model: str | None = MISSING
    host: str = MISSING
    port: int = MISSING
    allowed_hosts: list[str] | None = MISSING
    abstain_below: float | None = MISSING
    top_k: int | None = MISSING
    max_upload_mb: float = MISSING
    max_images: int = MISSING
    max_megapixels: float = MISSING
    max_pending: int = MISSING
    max_connections: int | None = MISSING
    timeout_seconds: float = MISSING
    batch_size: int = MISSING
    batch_wait_ms: float = MISSING
    decode_threads: int | None = MISSING
    decode_megapixels: float | None = MISSING
    accelerator: str = MISSING
    trust: bool = MISSING


@dataclass
class ExplainConfig:
    ckpt: str = MISSING
    images: str = MISSING
    root: str | None = MISSING
    output: str = MISSING
    class_name: str | None = MISSING
    batch_size: int = MISSING
    accelerator: str = MISSING
    trust: bool = MISSING
    overwrite: bool = MISSING
    spreadsheet_safe: bool = MISSING


@dataclass
class ExportConfig:
    ckpt: str = MISSING
    format: str = MISSING
    output: str | None = MISSING
    variants: list[str] = MISSING
    images: str | None = MISSING
    test_images: int = MISSING
    calibration_images: int = MISSING
    latency: bool = MISSING
    trust: bool = MISSING
    overwrite: bool = MISSING


@dataclass
class CheckConfig:
    output: str = MISSING
    tiny_px: int = MISSING
    near_duplicate_bits: int | None = MISSING
    overwrite: bool = MISSING
    spreadsheet_safe: bool = MISSING
    data: dict[str, Any] = field(default_factory=dict)
    task: TaskConfig = field(default_factory=TaskConfig)
    loss: dict[str, Any] = field(default_factory=dict)  # multilabel and regression choose one, which nothing here reads


def register() -> None:
    """Make the schemas and the backbones known to Hydra. `conf/backbone/*.yaml` wins over the generated options."""
    store = ConfigStore.instance()
    schemas = {
        "train": TrainConfig,
        "evaluate": EvaluateConfig,
        "predict": PredictConfig,
        "compare": CompareConfig,
        "publish": PublishConfig,
        "serve": ServeConfig,
        "explain": ExplainConfig,
        "export": ExportConfig,
        "check": CheckConfig,
    }
    for name, schema in schemas.items():
        # At the top level and not in a group of its own, which --help would list among the groups to choose from.
        store.store(name=f"{name}_schema", node=schema)
    for name in BACKBONES:
        if not (CONF_DIR / "backbone" / f"{name}.yaml").exists():
            store.store(group="backbone", name=name, node={"name": name, "weights": "DEFAULT"}, package="backbone")
