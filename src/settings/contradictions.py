"""Settings that are right one by one and cannot go together. Imports no torch."""

from collections.abc import Iterator
from typing import Any

from src.evaluation.metric_facts import facts_of
from src.settings.backbones import OWN_HEADS
from src.settings.loggers import logger_problems
from src.settings.object_contradictions import object_problems
from src.settings.options import chosen_as, options_of, tasks_for
from src.settings.processes import process_problems
from src.settings.recipes import recipe_problems
from src.settings.schema import TrainConfig
from src.settings.target_kinds import MOVE_WITH_PIXELS, TARGET_KINDS
from src.settings.timm_names import name_problems


def contradictions(settings: TrainConfig) -> Iterator[str]:
    """Of a training; `data_contradictions` has those of the data alone, which other commands read too."""
    for problems in (
        backbone_problems, process_problems, weight_problems, task_problems, head_problems, object_problems,
        augment_problems, phase_problems, recipe_problems,
    ):  # fmt: skip
        yield from problems(settings)
    yield from logger_problems(settings.logger)


def backbone_problems(settings: TrainConfig) -> Iterator[str]:
    yield from name_problems(settings.backbone.name)


def weight_problems(settings: TrainConfig) -> Iterator[str]:
    """What needs pretrained weights, or something of them."""
    random = settings.backbone.weights is None
    if random and settings.freeze.phases and all(phase.train != "all" for phase in settings.freeze.phases):
        yield (
            "backbone.weights=null gives random weights, and this freeze plan never trains all of them: "
            "use freeze=none, or pretrained weights."
        )
    if random and settings.freeze.batch_norm:
        yield (
            "freeze.batch_norm=true keeps the BatchNorm of pretrained weights, and backbone.weights=null gives random "
            "ones: leave one of the two out."
        )
    if settings.head.get("start") == "pretrained":
        start, targets = "head.start=pretrained", settings.task.targets
        if random:
            yield f"{start} needs the classes of pretrained weights, and backbone.weights=null has none."
        if targets in MOVE_WITH_PIXELS:
            yield f"{start} is for one class per image: set head.start=small, or leave it out."
            return
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
    wanted = settings.loss.get("targets", task.targets)
    if wanted != task.targets and not TARGET_KINDS[task.targets].own_losses:  # object_contradictions.py has these
        yield (
            f"{chosen_as('loss', settings.loss)} is for task.targets={wanted}, and this task has "
            f"task.targets={task.targets}: choose another loss, or another task."
        )
    if not TARGET_KINDS[task.targets].has_classes and settings.data.get("balanced_sampling"):
        yield f"data.balanced_sampling=true needs classes, and task.targets={task.targets} has none."


def head_problems(settings: TrainConfig) -> Iterator[str]:
    """A head belongs to tasks of some targets: it says which, unless it is for scores and numbers."""
    targets, of_head = settings.task.targets, settings.head.get("targets")
    moves = targets in MOVE_WITH_PIXELS
    wanted = targets if moves else None
    if of_head != wanted and settings.backbone.name not in OWN_HEADS:  # object_contradictions.py has these
        able = [name for name, option in options_of("head").items() if option.get("targets") == wanted]
        yield (
            f"{chosen_as('head', settings.head)} is for {of_head or 'scores and numbers'}, and this task has "
            f"task.targets={targets}: choose head={' or head='.join(able)}."
        )


def augment_problems(settings: TrainConfig) -> Iterator[str]:
    augment, data = settings.augment, settings.data
    needs_crops = "crop_scale_min" in TARGET_KINDS[settings.task.targets].changes
    if augment.crop_px is not None and augment.crop_scale_min is None and needs_crops:
        yield (
            f"augment.crop_px={augment.crop_px} is the side of random crops, and there are none: set "
            "augment.crop_scale_min, or leave it null."
        )
    mixes = {"mixup": augment.mixup, "cutmix": augment.cutmix}
    mixed = next((f"augment.{kind}={amount:g}" for kind, amount in mixes.items() if amount), None)
    if mixed and not TARGET_KINDS[settings.task.targets].has_classes:
        yield f"{mixed} mixes classes, and task.targets={settings.task.targets} has none."
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


def data_contradictions(data: dict[str, Any], targets: str | None) -> Iterator[str]:
    """Of data with these targets; None if only a checkpoint knows."""
    yield from format_problems(data, targets)
    if (data.get("val_fraction") or 0) + (data.get("test_fraction") or 0) >= 1:
        yield "data.val_fraction and data.test_fraction leave nothing to train on: their sum must be below 1."
    folds, fold = data.get("folds"), data.get("fold", 0)
    if folds is not None and not fold < folds:
        yield f"data.fold={fold} is out of range: with data.folds={folds} it is 0 to {folds - 1}."
    size, resize = data.get("image_size_px"), data.get("resize_px")
    if size is not None and resize is not None and resize < size and targets not in MOVE_WITH_PIXELS:
        yield f"data.resize_px={resize} is smaller than the crop, data.image_size_px={size}."


def format_problems(data: dict[str, Any], targets: str | None) -> Iterator[str]:
    """Of formats that have targets of some kinds alone. Each of torchvision's sets has its own."""
    chosen = chosen_as("data", data) if "_target_" in data else ""
    able = [kind for kind, facts in TARGET_KINDS.items() if chosen.removeprefix("data=") in facts.formats]
    if targets is None or not able or targets in able:
        return
    fitting = TARGET_KINDS[targets].formats
    yield (
        f"{chosen} is for task.targets={' or '.join(able)}, and this task has task.targets={targets}: choose "
        f"{tasks_for(*able)}, or data={' or data='.join(fitting)}."
    )
