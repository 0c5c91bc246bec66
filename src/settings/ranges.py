"""Legal ranges of numbers and choices of words, by setting. Imports no torch."""

from omegaconf import DictConfig, OmegaConf

from src.settings.errors import did_you_mean
from src.settings.plain_values import LARGEST_PX, RESIZE_MODES
from src.settings.tasks import task_names

# Legal ranges of numbers: (lowest, highest, is the lowest itself allowed). A setting that is absent or null is skipped.
RANGES: dict[str, tuple[float, float, bool]] = {
    "data.batch_size": (1, float("inf"), True),
    "data.num_workers": (0, float("inf"), True),
    "data.image_size_px": (1, LARGEST_PX, True),
    "data.resize_px": (1, LARGEST_PX, True),
    "data.val_fraction": (0, 0.9, False),
    "data.folds": (2, float("inf"), True),
    "data.fold": (0, float("inf"), True),
    "data.cache_views": (1, float("inf"), True),
    "data.cache_gb": (0, float("inf"), True),
    "data.max_megapixels": (0, float("inf"), False),
    "data.test_fraction": (0, 0.9, True),
    "batch_size": (1, float("inf"), True),
    "abstain_below": (0, 1, True),
    "test_images": (0, float("inf"), True),
    "calibration_images": (1, float("inf"), True),
    "num_workers": (0, float("inf"), True),
    "port": (0, 65535, True),
    "top_k": (1, float("inf"), True),
    "max_upload_mb": (0, float("inf"), False),
    "max_images": (1, float("inf"), True),
    "max_megapixels": (0, float("inf"), False),
    "max_pending": (1, float("inf"), True),
    "max_connections": (1, float("inf"), True),
    "timeout_seconds": (0, float("inf"), False),
    "batch_wait_ms": (0, 1000, True),
    "decode_threads": (1, float("inf"), True),
    "decode_megapixels": (0, float("inf"), False),
    "trainer.max_epochs": (1, float("inf"), True),
    "trainer.accumulate_grad_batches": (1, float("inf"), True),
    "trainer.gradient_clip_val": (0, float("inf"), False),
    "trainer.num_nodes": (1, float("inf"), True),
    "optimizer.lr": (0, float("inf"), False),
    "optimizer.weight_decay": (0, float("inf"), True),
    "optimizer.momentum": (0, 1, True),
    "scheduler.warmup_epochs": (0, float("inf"), True),
    "scheduler.warmup_fraction": (0, 1, True),
    "scheduler.final_factor": (0, 1, True),
    "scheduler.gamma": (0, 1, True),
    "head.dropout": (0, 1, True),
    "head.hidden_features": (1, float("inf"), True),
    "loss.label_smoothing": (0, 1, True),
    "loss.gamma": (0, float("inf"), True),
    "loss.tau": (0, float("inf"), True),
    "augment.crop_scale_min": (0, 1, False),
    "augment.crop_px": (1, float("inf"), True),
    "augment.horizontal_flip": (0, 1, True),
    "augment.vertical_flip": (0, 1, True),
    "augment.rotation_degrees": (0, 180, True),
    "augment.color_jitter": (0, 1, True),
    "augment.erasing": (0, 1, True),
    "augment.mixup": (0, float("inf"), True),
    "augment.cutmix": (0, float("inf"), True),
    "backbone.stochastic_depth": (0, 1, True),
    "param_groups.layer_decay": (0, 1, False),
    "param_groups.head_lr_factor": (0, float("inf"), False),
    "ema_decay": (0, 1, False),
    "soup": (0, 100, True),
    "checkpoint_every_n_steps": (1, float("inf"), True),
    "seed": (0, 2**32 - 1, True),
}
WHOLE = (
    "data.batch_size", "data.num_workers", "data.image_size_px", "data.resize_px", "data.folds", "data.fold",
    "data.cache_views", "trainer.max_epochs", "trainer.accumulate_grad_batches", "trainer.num_nodes",
)  # fmt: skip
NEVER_NULL = ("data.batch_size", "data.val_fraction", "trainer.max_epochs", "optimizer.lr", "batch_size")
CHOICES: dict[str, list[str]] = {
    "task.mode": ["max", "min"],
    "task.name": task_names(),
    "task.targets": ["classes", "tags", "numbers"],
    "data.on_error": ["skip", "fail"],
    "data.resize_mode": list(RESIZE_MODES),
    "data.cache": ["auto", "none", "images", "features"],
    "head.start": ["small", "pretrained"],
    "loss.class_weights": ["inverse", "effective"],
    "augment.policy": ["trivial", "rand", "augmix"],
    "matmul_precision": ["highest", "high", "medium"],
    "split": ["train", "val", "test", "all"],
    "accelerator": ["auto", "cpu", "gpu", "mps"],
    "format": ["onnx", "torch"],
    "on_nonfinite_loss": ["stop", "skip"],
    "scheduler.interval": ["step", "epoch"],
    "trainer.precision": [
        "auto", "32-true", "32", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true", "transformer-engine",
    ],
}  # fmt: skip


def out_of_range(cfg: DictConfig) -> list[str]:
    problems = []
    for key, (low, high, inclusive) in RANGES.items():
        value = OmegaConf.select(cfg, key, default=...)
        if value is None and key in NEVER_NULL:
            problems.append(f"{key}=null is not allowed: it needs a number.")
        if value is None or value is ...:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            problems.append(f"{key}={value!r} is not a number.")
        elif not (low <= value if inclusive else low < value) or value > high:
            limits = f"{'at least' if inclusive else 'more than'} {low:g}"
            limits += f" and at most {high:g}" if high != float("inf") else ""
            shown = f"{value:g}" if isinstance(value, float) else str(value)[:30]
            problems.append(f"{key}={shown} is out of range: it must be {limits}.")
        elif key in WHOLE and value != int(value):
            problems.append(f"{key}={value:g} is not a whole number.")
    for key, choices in CHOICES.items():
        value = OmegaConf.select(cfg, key)
        if value is not None and str(value) not in choices:
            hint = did_you_mean(str(value), choices)
            problems.append(f"{key}={value!r} is not allowed.{hint} Allowed: {', '.join(choices)}.")
    return problems
