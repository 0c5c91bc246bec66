"""Settings that are right one by one and cannot go together. Imports no torch."""

from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from src.settings.ranges import out_of_range

SHARDED_PRECISIONS = ("auto", "32-true", "32", "bf16-mixed")


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
    problems += device_problems(trainer) + problems_without_val(cfg)
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
    if (wanted := cfg.loss.get("targets", cfg.task.targets)) != cfg.task.targets:
        problems.append(
            f"loss: {cfg.loss._target_} is for task.targets={wanted}, and this task has "
            f"task.targets={cfg.task.targets}: choose another loss, or another task."
        )
    if cfg.augment.crop_px is not None and cfg.augment.crop_scale_min is None:
        problems.append(
            f"augment.crop_px={cfg.augment.crop_px} is the side of random crops, and there are none: set "
            "augment.crop_scale_min, or leave it null."
        )
    mixes = [f"augment.{kind}={cfg.augment[kind]:g}" for kind in ("mixup", "cutmix") if cfg.augment[kind]]
    if mixes and cfg.task.targets == "numbers":
        problems.append(f"{mixes[0]} mixes classes, and task.targets=numbers has none.")
    if mixes and cfg.data.get("cache_views"):
        problems.append(
            f"{mixes[0]} mixes images, and data.cache_views={cfg.data.cache_views} keeps what the frozen network "
            "made of them: choose one of the two."
        )
    if cfg.task.targets == "numbers" and cfg.data.get("balanced_sampling"):
        problems.append("data.balanced_sampling=true needs classes, and task.targets=numbers has none.")
    if several_processes(trainer):
        problems += [one_process_only(key) for key in FOUND_BY if cfg.get(key)]
    if trainer.get("strategy") == "fsdp":
        problems += sharding_problems(cfg)
    return problems + phase_problems(phases, trainer.get("max_epochs"))


def device_problems(trainer: DictConfig) -> list[str]:
    devices = trainer.get("devices")
    listed = list(devices) if OmegaConf.is_list(devices) else [devices]
    whole = all((isinstance(n, int) and not isinstance(n, bool)) or str(n).lstrip("-").isdigit() for n in listed)
    if devices == "auto" or (whole and listed and (OmegaConf.is_list(devices) or int(listed[0]) in range(-1, 10_000))):
        return [] if devices not in (0, "0") else ["trainer.devices=0 leaves nothing to train on: at least 1, or auto."]
    return [f"trainer.devices={devices!r} is not understood: auto, a number, or a list such as [0, 2]."]


def problems_without_val(cfg: DictConfig) -> list[str]:
    """What looks at a metric of val in every epoch, where val is not measured in every epoch."""
    trainer, problems = cfg.trainer, []
    watching = [f"callbacks.{k}" for k, node in cfg.callbacks.items() if "EarlyStopping" in target_of(node)]
    if target_of(cfg.scheduler) == "torch.optim.lr_scheduler.ReduceLROnPlateau":
        watching.append("scheduler=plateau")
    if trainer.get("limit_val_batches") == 0 and str(cfg.task.monitor).startswith("val/"):
        problems += [
            f"{name} watches task.monitor={cfg.task.monitor}, and trainer.limit_val_batches=0 measures no val: leave "
            "one of the two out."
            for name in watching
        ]
    return problems


def target_of(node: Any) -> str:
    """What a node of the settings names; empty if it is no such node."""
    return str(node.get("_target_")) if isinstance(node, DictConfig) else ""


def head_start_problems(cfg: DictConfig) -> list[str]:
    """What does not go with head.start=pretrained."""
    start, problems = "head.start=pretrained", []
    if cfg.backbone.weights is None:
        problems.append(f"{start} needs the classes of pretrained weights, and backbone.weights=null has none.")
    if cfg.task.targets != "classes":
        problems.append(f"{start} is for one class per image, and this task has task.targets={cfg.task.targets}.")
    if target_of(cfg.head) != "src.models.heads.linear_head":
        problems.append(f"{start} is for head=linear: other heads have no row for each class.")
    return problems


# What src/training/tuning finds, by the setting that asks for it.
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
        f"freeze.phases.{i}.lr_factor={phase.lr_factor:g} is out of range: it must be a finite number above 0."
        for i, phase in enumerate(phases)
        if not 0 < phase.lr_factor < float("inf")
    ]
    for i, phase in enumerate(phases):
        changes = OmegaConf.create({"optimizer": phase.optimizer, "scheduler": phase.scheduler})
        problems += [f"freeze.phases.{i}.{problem}" for problem in out_of_range(changes) if "=null" not in problem]
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
