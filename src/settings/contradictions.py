"""Settings that are right one by one and cannot go together, or do nothing beside the others. Imports no torch."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from src.evaluation.metric_facts import facts_of
from src.settings.kinds import names_a
from src.settings.nodes import MOVE_WITH_PIXELS
from src.settings.options import options_of
from src.settings.processes import process_problems
from src.settings.schema import TrainConfig

FOR_WHOLE_IMAGES = ("crop_scale_min", "policy", "erasing", "mixup", "cutmix")  # augmentation that knows no objects
FOR_OBJECTS = ("zoom_out", "iou_crop", "scale_jitter")


def contradictions(settings: TrainConfig) -> Iterator[str]:
    """Of a training; `data_contradictions` has those of the data alone, which other commands read too."""
    for problems in (
        process_problems, weight_problems, task_problems, head_problems, augment_problems, phase_problems,
    ):  # fmt: skip
        yield from problems(settings)


def weight_problems(settings: TrainConfig) -> Iterator[str]:
    """What needs pretrained weights, or something of them."""
    random = settings.backbone.weights is None
    if random and settings.freeze.phases and all(phase.train != "all" for phase in settings.freeze.phases):
        yield (
            "backbone.weights=null gives random weights, and this freeze plan never trains all of them: "
            "use freeze=none, or pretrained weights."
        )
    if settings.head.get("start") == "pretrained":
        start, targets = "head.start=pretrained", settings.task.targets
        if random:
            yield f"{start} needs the classes of pretrained weights, and backbone.weights=null has none."
        if targets != "classes":
            yield f"{start} is for one class per image, and this task has task.targets={targets}."
        able = {name: option["_target_"] for name, option in options_of("head").items() if "start" in option}
        if settings.head["_target_"] not in able.values():
            yield f"{start} is for head={', head='.join(able)}: other heads have no row for each class."


def task_problems(settings: TrainConfig) -> Iterator[str]:
    task = settings.task
    better = facts_of(task.monitor).better  # nobody knows it of a metric of the user's own
    if better and task.mode != better:
        yield f"task.monitor={task.monitor} is best at its {better}imum: set task.mode={better}."
    if (wanted := settings.loss.get("targets", task.targets)) != task.targets:
        yield (
            f"loss: {settings.loss['_target_']} is for task.targets={wanted}, and this task has "
            f"task.targets={task.targets}: choose another loss, or another task."
        )
    if task.targets == "numbers" and settings.data.get("balanced_sampling"):
        yield "data.balanced_sampling=true needs classes, and task.targets=numbers has none."


def head_problems(settings: TrainConfig) -> Iterator[str]:
    """A head belongs to tasks of some targets: it says which, unless it is for scores and numbers."""
    targets, of_head = settings.task.targets, settings.head.get("targets")
    moves = targets in MOVE_WITH_PIXELS
    wanted = targets if moves else None
    if of_head != wanted:
        able = [name for name, option in options_of("head").items() if option.get("targets") == wanted]
        yield (
            f"head: {settings.head['_target_']} is for {of_head or 'scores and numbers'}, and this task has "
            f"task.targets={targets}: choose head={' or head='.join(able)}."
        )
    if moves and settings.loss:
        yield f"loss: the networks of task.targets={targets} have losses of their own: leave it out with loss=null."


def augment_problems(settings: TrainConfig) -> Iterator[str]:
    augment, data = settings.augment, settings.data
    moves = settings.task.targets in MOVE_WITH_PIXELS
    for name in FOR_WHOLE_IMAGES if moves else FOR_OBJECTS:
        if value := getattr(augment, name):
            which = f"{'not ' if moves else 'only '}for task.targets={', '.join(MOVE_WITH_PIXELS)}"
            yield f"augment.{name}={value} is {which}."
    if moves and data.get("cache") == "features":
        yield "data.cache=features keeps what a classifier's head gets, and this task has no such: use images or none."
    if moves and data.get("resize_mode") == "crop":
        yield "data.resize_mode=crop would cut objects off: use fit or stretch."
    if augment.crop_px is not None and augment.crop_scale_min is None:
        yield (
            f"augment.crop_px={augment.crop_px} is the side of random crops, and there are none: set "
            "augment.crop_scale_min, or leave it null."
        )
    mixes = {"mixup": augment.mixup, "cutmix": augment.cutmix}
    mixed = next((f"augment.{kind}={amount:g}" for kind, amount in mixes.items() if amount), None)
    if mixed and settings.task.targets == "numbers":
        yield f"{mixed} mixes classes, and task.targets=numbers has none."
    if mixed and data.get("cache_views"):
        yield (
            f"{mixed} mixes images, and data.cache_views={data['cache_views']} keeps what the frozen network "
            "made of them: choose one of the two."
        )


def phase_problems(settings: TrainConfig) -> Iterator[str]:
    """Whether the phases of a freeze plan fit into the epochs that there are."""
    phases, max_epochs = settings.freeze.phases, settings.trainer.get("max_epochs")
    given = sum(phase.epochs or 0 for phase in phases)
    open_phases = sum(phase.epochs is None for phase in phases)
    if not phases:
        yield "freeze.phases is empty: name at least one phase, e.g. [{train: all}]."
    elif max_epochs is not None and open_phases and given + open_phases > max_epochs:
        yield (
            f"trainer.max_epochs={max_epochs} is too short for the freeze plan's {len(phases)} phases, which need at "
            f"least {given + open_phases} epochs: raise it, or lower freeze.phases.<n>.epochs."
        )
    elif max_epochs is not None and not open_phases and given != max_epochs:
        yield (
            f"The epochs of freeze.phases add up to {given}, but trainer.max_epochs={max_epochs}: set "
            f"trainer.max_epochs={given}, or leave one phase's epochs null."
        )


def data_contradictions(data: dict[str, Any]) -> Iterator[str]:
    if (data.get("val_fraction") or 0) + (data.get("test_fraction") or 0) >= 1:
        yield "data.val_fraction and data.test_fraction leave nothing to train on: their sum must be below 1."
    folds, fold = data.get("folds"), data.get("fold", 0)
    if folds is not None and not fold < folds:
        yield f"data.fold={fold} is out of range: with data.folds={folds} it is 0 to {folds - 1}."
    size, resize = data.get("image_size_px"), data.get("resize_px")
    if size is not None and resize is not None and resize < size:
        yield f"data.resize_px={resize} is smaller than the crop, data.image_size_px={size}."


def void_settings(settings: TrainConfig, typed: Iterable[str]) -> Iterator[str]:
    """A sentence for each of the keys in `typed` that does nothing in this run: somebody expects something of it."""
    for key in typed:
        for prefix, is_void, why in VOID:
            if (key == prefix or key.startswith(f"{prefix}.")) and is_void(settings):
                yield f"{key} has no effect: {why}."
                break


Condition = Callable[[TrainConfig], bool]


def data_is(key: str, *values: Any) -> Condition:
    """Whether a setting of the data has one of these values; null is what is not there."""
    return lambda settings: settings.data.get(key) in values


def data_has(key: str) -> Condition:
    return lambda settings: settings.data.get(key) is not None


def trains_head_alone(settings: TrainConfig) -> bool:
    return all(phase.train == "head" for phase in settings.freeze.phases)


def never_trains_head_alone(settings: TrainConfig) -> bool:
    return all(phase.train != "head" for phase in settings.freeze.phases)


def keeps_no_checkpoint(settings: TrainConfig) -> bool:
    return not any(names_a(node, "lightning.pytorch.callbacks.Checkpoint") for node in settings.callbacks.values())


def is_dry(settings: TrainConfig) -> bool:
    return bool(settings.trainer.get("fast_dev_run"))


VOID: list[tuple[str, Condition, str]] = [
    ("data.fold", data_is("folds", None), "data.folds=<number> says that there are folds"),
    ("data.val_fraction", data_has("split_file"), "data.split_file says which images are val"),
    ("data.val_fraction", data_has("folds"), "with data.folds val is one of the folds"),
    ("data.test_fraction", data_has("split_file"), "data.split_file says which images are test"),
    ("data.split_seed", data_has("split_file"), "data.split_file says how the images are split"),
    ("data.cache_views", never_trains_head_alone, "no phase of the freeze plan trains the head alone"),
    ("data.cache_dir", data_is("cache", "none"), "data.cache=none keeps nothing"),
    (
        "data.resize_px",
        data_is("resize_mode", "fit", "stretch"),
        "data.resize_mode=fit and stretch scale to data.image_size_px",
    ),
    ("augment.horizontal_flip", data_is("mirror_safe", False), "data.mirror_safe=false forbids it"),
    ("augment.crop_scale_min", data_is("crop_safe", False), "data.crop_safe=false forbids crops"),
    ("augment.crop_px", data_is("crop_safe", False), "data.crop_safe=false forbids crops"),
    ("param_groups.layer_decay", trains_head_alone, "only the head trains"),
    ("param_groups.head_lr_factor", trains_head_alone, "only the head trains"),
    ("backbone.stochastic_depth", trains_head_alone, "only the head trains, and what is frozen drops nothing"),
    ("soup", keeps_no_checkpoint, "callbacks=none keeps no checkpoints"),
    ("checkpoint_every_n_steps", keeps_no_checkpoint, "callbacks=none keeps no checkpoints"),
    ("trainer.log_every_n_steps", lambda settings: not settings.logger, "logger=none logs nothing"),
    ("lr_find", is_dry, "fast_dev_run tries nothing out"),
    ("batch_size_find", is_dry, "fast_dev_run tries nothing out"),
]
