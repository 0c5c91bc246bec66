"""Types of the settings of the other commands: conf/evaluate.yaml, conf/predict.yaml and so on."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from omegaconf import MISSING

from src.settings.nodes import Count, CountOrZero, DataSettings, LossSettings, Positive, Share, TaskConfig
from src.settings.rules import at_least, one_of

Accelerator = Annotated[str, one_of("auto", "cpu", "gpu", "mps")]
Split = Annotated[str, one_of("train", "val", "test", "all")]


@dataclass
class EvaluateConfig:
    ckpt: str = MISSING
    split: Split | None = MISSING
    report: str | None = MISSING
    output: str | None = MISSING
    accelerator: Accelerator = MISSING
    trust: bool = MISSING
    overwrite: bool = MISSING
    data: Annotated[dict[str, Any], DataSettings] = field(default_factory=dict)


@dataclass
class PredictConfig:
    ckpt: str = MISSING
    images: str = MISSING
    root: str | None = MISSING
    output: str = MISSING
    abstain_below: Share | None = MISSING
    embeddings: bool = MISSING
    batch_size: Count = MISSING
    num_workers: CountOrZero | None = MISSING
    accelerator: Accelerator = MISSING
    trust: bool = MISSING
    overwrite: bool = MISSING
    spreadsheet_safe: bool = MISSING


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
    ckpt: str | None = MISSING
    model: str | None = MISSING
    host: str = MISSING
    port: Annotated[int, at_least(0, at_most=65535)] = MISSING
    allowed_hosts: list[str] | None = MISSING
    abstain_below: Share | None = MISSING
    top_k: Count | None = MISSING
    max_upload_mb: Positive = MISSING
    max_images: Count = MISSING
    max_megapixels: Positive = MISSING
    max_pending: Count = MISSING
    max_connections: Count | None = MISSING
    timeout_seconds: Positive = MISSING
    batch_size: Count = MISSING
    batch_wait_ms: Annotated[float, at_least(0, at_most=1000)] = MISSING
    decode_threads: Count | None = MISSING
    decode_megapixels: Positive | None = MISSING
    accelerator: Accelerator = MISSING
    trust: bool = MISSING


@dataclass
class ExplainConfig:
    ckpt: str = MISSING
    images: str = MISSING
    root: str | None = MISSING
    output: str = MISSING
    class_name: str | None = MISSING
    batch_size: Count = MISSING
    accelerator: Accelerator = MISSING
    trust: bool = MISSING
    overwrite: bool = MISSING
    spreadsheet_safe: bool = MISSING


@dataclass
class ExportConfig:
    ckpt: str = MISSING
    format: Annotated[str, one_of("onnx", "torch")] = MISSING
    output: str | None = MISSING
    variants: list[str] = MISSING
    images: str | None = MISSING
    test_images: CountOrZero = MISSING
    calibration_images: Count = MISSING
    latency: bool = MISSING
    trust: bool = MISSING
    overwrite: bool = MISSING


@dataclass
class CheckConfig:
    output: str = MISSING
    tiny_px: CountOrZero = MISSING
    near_duplicate_bits: Annotated[int, at_least(0, at_most=32)] | None = MISSING
    overwrite: bool = MISSING
    spreadsheet_safe: bool = MISSING
    data: Annotated[dict[str, Any], DataSettings] = field(default_factory=dict)
    task: TaskConfig = field(default_factory=TaskConfig)
    loss: Annotated[dict[str, Any], LossSettings] = field(default_factory=dict)  # chosen by some tasks, unread
