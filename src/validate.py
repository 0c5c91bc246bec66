"""Every mistake in the settings that can be seen before training starts, told all at once.

`check_settings` needs no torch and runs first: unknown keys, wrong kinds, values out of range, missing paths, settings
that contradict each other. `check_targets` imports what each `_target_` names and compares the arguments with its
signature. Both raise one ConfigError with a line for each problem.
"""

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from src.errors import ConfigError, did_you_mean

# Legal ranges of numbers: (lowest, highest, is the lowest itself allowed). A setting that is absent or null is skipped.
RANGES: dict[str, tuple[float, float, bool]] = {
    "data.batch_size": (1, float("inf"), True),
    "data.num_workers": (0, float("inf"), True),
    "data.image_size_px": (1, float("inf"), True),
    "data.resize_px": (1, float("inf"), True),
    "data.val_fraction": (0, 0.9, False),
    "data.folds": (2, float("inf"), True),
    "data.fold": (0, float("inf"), True),
    "data.cache_views": (1, float("inf"), True),
    "data.cache_gb": (0, float("inf"), True),
    "data.max_megapixels": (0, float("inf"), False),
    "data.test_fraction": (0, 0.9, True),
    "batch_size": (1, float("inf"), True),
    "abstain_below": (0, 1, True),
    "test_pictures": (0, float("inf"), True),
    "calibration_pictures": (1, float("inf"), True),
    "num_workers": (0, float("inf"), True),
    "port": (0, 65535, True),
    "top_k": (1, float("inf"), True),
    "max_upload_mb": (0, float("inf"), False),
    "max_pictures": (1, float("inf"), True),
    "max_megapixels": (0, float("inf"), False),
    "max_pending": (1, float("inf"), True),
    "timeout_seconds": (0, float("inf"), False),
    "batch_wait_ms": (0, 1000, True),
    "decode_threads": (1, float("inf"), True),
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
NEVER_NULL = ("data.batch_size", "data.val_fraction", "trainer.max_epochs", "optimizer.lr", "batch_size")
CHOICES: dict[str, list[str]] = {
    "task.mode": ["max", "min"],
    "task.labels": ["one", "several", "numbers"],
    "data.on_error": ["skip", "fail"],
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

SHARDED_PRECISIONS = ("auto", "32-true", "32", "bf16-mixed")


def check_settings(cfg: DictConfig, yaml_values: dict[str, Any]) -> None:
    """Raise ConfigError for everything wrong in `cfg` that can be seen without importing torch.

    `yaml_values` are settings as the yaml files have them, nested: a number there must stay a number.
    """
    problems = [f"{key} is not set: give {key}=<value>." for key in sorted(OmegaConf.missing_keys(cfg))]
    problems += unknown_keys(cfg) + wrong_kinds(cfg, yaml_values)
    if not problems:  # values of the wrong kind cannot be compared
        problems = out_of_range(cfg) + missing_paths(cfg) + contradictions(cfg)
    if problems:
        raise ConfigError("\n".join(problems))


def unknown_keys(cfg: DictConfig, prefix: str = "") -> list[str]:
    """Keys that no schema has: `+` on the command line adds them past Hydra's own check."""
    schema = OmegaConf.get_type(cfg)
    problems: list[str] = []
    if schema is None or not dataclasses.is_dataclass(schema):
        return problems
    known = [field.name for field in dataclasses.fields(schema)]
    for key in map(str, cfg):
        if key not in known:
            hint = did_you_mean(key, known, prefix)
            problems.append(f"{prefix}{key} is no setting.{hint} Known: {', '.join(known)}.")
        elif not OmegaConf.is_missing(cfg, key) and isinstance(node := cfg[key], DictConfig):
            problems += unknown_keys(node, f"{prefix}{key}.")
    return problems


def leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in nested mappings that is no mapping; lists count as values."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def wrong_kinds(cfg: DictConfig, yaml_values: dict[str, Any]) -> list[str]:
    """A setting whose yaml value is a number, a list or true/false must stay one."""
    problems = []
    for key, default in leaves(yaml_values):
        value = OmegaConf.select(cfg, key, default=default)
        if isinstance(default, bool):
            wanted, right = "true or false", isinstance(value, bool)
        elif isinstance(default, int | float):
            whole = isinstance(default, int)
            wanted = "a whole number" if whole else "a number"
            right = value is None or (isinstance(value, int if whole else int | float) and not isinstance(value, bool))
        elif isinstance(default, list):
            wanted, right = "a list such as [1, 2]", value is None or OmegaConf.is_list(value) or value is default
        else:
            continue
        if not right:
            problems.append(f"{key}={value!r} is not {wanted}.")
    return problems


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
            problems.append(f"{key}={value:g} is out of range: it must be {limits}.")
    for key, choices in CHOICES.items():
        value = OmegaConf.select(cfg, key)
        if value is not None and str(value) not in choices:
            hint = did_you_mean(str(value), choices)
            problems.append(f"{key}={value!r} is not allowed.{hint} Allowed: {', '.join(choices)}.")
    return problems


def missing_paths(cfg: DictConfig) -> list[str]:
    problems = []
    keys = ["data.file", "data.split_file", "resume", "ckpt", "model", "root"]
    if "name" not in (OmegaConf.select(cfg, "data") or {}):  # torchvision's sets are downloaded to data.root
        keys.append("data.root")
    for key in keys:
        value = OmegaConf.select(cfg, key)
        if key == "resume" and value == "auto":
            continue
        if value is not None and not Path(value).expanduser().exists():
            problems.append(f"{key}='{value}' does not exist{looked_in(value)}.")
    return problems


def looked_in(path: str) -> str:
    return "" if Path(path).is_absolute() else f" (looked in {Path.cwd()})"


def contradictions(cfg: DictConfig) -> list[str]:
    problems = data_contradictions(cfg)
    if "trainer" not in cfg:
        return problems
    trainer, phases = cfg.trainer, cfg.freeze.phases
    if trainer.get("accelerator") == "cpu" and str(trainer.get("precision")) in ("16-mixed", "16-true"):
        problems.append(
            f"trainer.precision={trainer.precision} needs a GPU, and trainer.accelerator is cpu: use 32-true "
            "(or bf16-mixed, which CPUs without bf16 instructions compute slowly)."
        )
    if cfg.backbone.weights is None and phases and all(phase.train != "all" for phase in phases):
        problems.append(
            "backbone.weights=null gives random weights, and this freeze plan never trains all of them: "
            "use freeze=none, or pretrained weights."
        )
    if cfg.head.get("start") == "pretrained":
        problems += head_start_problems(cfg)
    better = "min" if str(cfg.task.monitor).split("/")[1:2] in (["loss"], ["mae"], ["rmse"]) else "max"
    if cfg.task.mode != better:
        problems.append(f"task.monitor={cfg.task.monitor} is best at its {better}imum: set task.mode={better}.")
    if (wanted := cfg.loss.get("labels", cfg.task.labels)) != cfg.task.labels:
        problems.append(
            f"loss: {cfg.loss._target_} is for task.labels={wanted}, and this task has task.labels={cfg.task.labels}: "
            "choose another loss, or another task."
        )
    if cfg.augment.crop_px is not None and cfg.augment.crop_scale_min is None:
        problems.append(
            f"augment.crop_px={cfg.augment.crop_px} is the side of random crops, and there are none: set "
            "augment.crop_scale_min, or leave it null."
        )
    mixes = [f"augment.{kind}={cfg.augment[kind]:g}" for kind in ("mixup", "cutmix") if cfg.augment[kind]]
    if mixes and cfg.task.labels == "numbers":
        problems.append(f"{mixes[0]} mixes classes, and task.labels=numbers has none.")
    if mixes and cfg.data.get("cache_views"):
        problems.append(
            f"{mixes[0]} mixes pictures, and data.cache_views={cfg.data.cache_views} keeps what the frozen network "
            "made of them: choose one of the two."
        )
    if cfg.task.labels == "numbers" and cfg.data.get("balanced_sampling"):
        problems.append("data.balanced_sampling=true needs classes, and task.labels=numbers has none.")
    if several_processes(trainer):
        problems += [one_process_only(key) for key in FOUND_BY if cfg.get(key)]
    if trainer.get("strategy") == "fsdp":
        problems += sharding_problems(cfg)
    return problems + phase_problems(phases, trainer.get("max_epochs"))


def head_start_problems(cfg: DictConfig) -> list[str]:
    """What does not go with head.start=pretrained."""
    start, problems = "head.start=pretrained", []
    if cfg.backbone.weights is None:
        problems.append(f"{start} needs the classes of pretrained weights, and backbone.weights=null has none.")
    if cfg.task.labels != "one":
        problems.append(f"{start} is for one class a picture, and this task has task.labels={cfg.task.labels}.")
    if not str(cfg.head.get("_target_")).endswith("linear_head"):
        problems.append(f"{start} is for head=linear: other heads have no row for each class.")
    return problems


# What src/finders.py finds, by the setting that asks for it.
FOUND_BY = {"lr_find": "optimizer.lr", "batch_size_find": "data.batch_size"}


def several_processes(trainer: DictConfig) -> bool:
    """As far as the settings alone tell."""
    devices = trainer.get("devices")
    number = len(devices) if OmegaConf.is_list(devices) else devices
    return (isinstance(number, int) and number > 1) or (trainer.get("num_nodes") or 1) > 1


def one_process_only(key: str) -> str:
    same_step = ", trainer.accumulate_grad_batches=<processes> for steps as long as theirs" if key == "lr_find" else ""
    return (
        f"{key}=true tries with one process: set trainer.devices=1{same_step}, and give the run on several "
        f"{FOUND_BY[key]}=<what was found>."
    )


ONE_PROCESS = (
    "trainer.strategy=fsdp shards the weights over several processes, and this run has one: raise trainer.devices, or "
    "use trainer=auto."
)


def sharding_problems(cfg: DictConfig) -> list[str]:
    """What does not go with trainer.strategy=fsdp."""
    trainer, fsdp = cfg.trainer, "trainer.strategy=fsdp"
    problems = []
    if trainer.get("devices") in (1, "1") and trainer.get("num_nodes") == 1:
        problems.append(ONE_PROCESS)
    if str(trainer.get("precision")) not in SHARDED_PRECISIONS:
        problems.append(
            f"trainer.precision={trainer.precision} is not possible with {fsdp}. Allowed: "
            f"{', '.join(SHARDED_PRECISIONS)}."
        )
    if trainer.get("sync_batchnorm"):
        problems.append(
            f"trainer.sync_batchnorm=true has no effect with {fsdp}: leave it out, or use trainer=ddp for a network "
            "with BatchNorm."
        )
    if cfg.compile:
        problems.append(f"compile=true is not possible with {fsdp}: leave it at false, or use trainer=ddp.")
    if cfg.on_nonfinite_loss == "skip":
        problems.append(
            f"on_nonfinite_loss=skip is not possible with {fsdp}, where all processes have to step: leave it at stop."
        )
    if cfg.ema_decay is not None:
        problems.append(
            f"ema_decay={cfg.ema_decay:g} averages whole weights, and {fsdp} keeps parts of them: leave it at null, "
            "use soup, or use trainer=ddp."
        )
    if cfg.data.get("cache") == "features" or cfg.data.get("cache_views"):
        key = "cache=features" if cfg.data.get("cache") == "features" else f"cache_views={cfg.data.cache_views}"
        problems.append(
            f"data.{key} lets one process compute for all, and with {fsdp} none has all weights: leave it out "
            "(data.cache=images is possible), or use trainer=ddp."
        )
    return problems


def data_contradictions(cfg: DictConfig) -> list[str]:
    problems = []
    val_fraction, test_fraction = (
        OmegaConf.select(cfg, "data.val_fraction"),
        OmegaConf.select(cfg, "data.test_fraction"),
    )
    if (val_fraction or 0) + (test_fraction or 0) >= 1:
        problems.append(
            "data.val_fraction and data.test_fraction leave nothing to train on: their sum must be below 1."
        )
    folds = OmegaConf.select(cfg, "data.folds")
    if folds is not None and not cfg.data.fold < folds:
        problems.append(f"data.fold={cfg.data.fold} is out of range: with data.folds={folds} it is 0 to {folds - 1}.")
    size, resize = OmegaConf.select(cfg, "data.image_size_px"), OmegaConf.select(cfg, "data.resize_px")
    if size is not None and resize is not None and resize < size:
        problems.append(f"data.resize_px={resize} is smaller than the crop, data.image_size_px={size}.")
    return problems


def phase_problems(phases: ListConfig, max_epochs: int | None) -> list[str]:
    if not phases:
        return ["freeze.phases is empty: name at least one phase, e.g. [{train: all}]."]
    if max_epochs is None:
        return []
    problems = [
        f"freeze.phases.{i}.epochs={phase.epochs} is out of range: at least 1, or null for a share of the rest."
        for i, phase in enumerate(phases)
        if phase.epochs is not None and phase.epochs < 1
    ]
    problems += [
        f"freeze.phases.{i}.lr_factor={phase.lr_factor:g} is out of range: it must be more than 0."
        for i, phase in enumerate(phases)
        if phase.lr_factor <= 0
    ]
    given = sum(phase.epochs or 0 for phase in phases)
    open_phases = sum(phase.epochs is None for phase in phases)
    if open_phases and given + open_phases > max_epochs:
        problems.append(
            f"trainer.max_epochs={max_epochs} is too short for the freeze plan's {len(phases)} phases, which need at "
            f"least {given + open_phases} epochs: raise it, or lower freeze.phases.<n>.epochs."
        )
    if not open_phases and given != max_epochs:
        problems.append(
            f"The epochs of freeze.phases add up to {given}, but trainer.max_epochs={max_epochs}: set "
            f"trainer.max_epochs={given}, or leave one phase's epochs null."
        )
    return problems


# ------------------------------------------------------------------------------------------------- with torch imported


def check_targets(cfg: DictConfig) -> None:
    """Raise ConfigError for every `_target_` that cannot be imported, and every argument that it does not know."""
    from hydra.utils import get_object

    problems: list[str] = []
    for path, node in target_nodes(cfg):
        try:
            target = get_object(node["_target_"])
        except Exception as error:
            problems.append(f"{path}._target_='{node['_target_']}' cannot be imported: {error}")
            continue
        problems += unknown_arguments(path, node, target)
    if problems:
        raise ConfigError("\n".join(problems))


def target_nodes(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(dotted key, plain mapping) of every mapping in the settings that has a `_target_`."""
    if OmegaConf.is_config(node):
        node = OmegaConf.to_container(node, resolve=True, throw_on_missing=False)
    items = enumerate(node) if isinstance(node, list) else node.items() if isinstance(node, dict) else ()
    if isinstance(node, dict) and "_target_" in node:
        yield path, node
    for key, child in items:
        yield from target_nodes(child, f"{path}.{key}" if path else str(key))


def known_arguments(target: Any) -> list[str] | None:
    """Names of the arguments; None if it takes any. A class that passes **settings on takes those of its base too."""
    names: list[str] = []
    for function in (
        [vars(c)["__init__"] for c in target.__mro__ if "__init__" in vars(c)] if inspect.isclass(target) else [target]
    ):
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return None
        names += [p.name for p in parameters if p.name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names
    return None


# Keys beside a `_target_` that are not its arguments but read by us, by config node.
OWN_KEYS = {
    "head": {"start"},
    "scheduler": {"interval"},
    "task": {"monitor", "mode", "labels"},
    "loss": {"class_weights", "labels"},
}


def unknown_arguments(path: str, node: dict[str, Any], target: Any) -> list[str]:
    known = known_arguments(target)
    if known is None:
        return []
    ours = OWN_KEYS.get(path, set()) | {"_target_", "_partial_", "_args_", "_convert_", "_recursive_"}
    problems = []
    for key in node:
        if key not in known and key not in ours:
            hint = did_you_mean(str(key), known, f"{path}.")
            problems.append(f"{path}.{key} is no argument of {node['_target_']}.{hint} It takes: {', '.join(known)}.")
    return problems
