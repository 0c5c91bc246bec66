"""Settings that do nothing in a run, beside the others. Imports no torch."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from src.settings.kinds import names_a
from src.settings.schema import TrainConfig
from src.settings.target_kinds import MOVE_WITH_PIXELS


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


def targets_move(settings: TrainConfig) -> bool:
    return settings.task.targets in MOVE_WITH_PIXELS


def resize_px_counts_for_nothing(settings: TrainConfig) -> bool:
    """Whole images in their own shape may be limited by their shorter side; those of other modes are scaled anyway."""
    mode = settings.data.get("resize_mode")
    return mode == "stretch" or (mode == "fit" and not targets_move(settings))


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
    ("data.cache_views", targets_move, "a head for objects looks at whole maps, which are not kept"),
    ("data.cache_dir", data_is("cache", "none"), "data.cache=none keeps nothing"),
    ("data.resize_px", resize_px_counts_for_nothing, "data.resize_mode=fit and stretch scale to data.image_size_px"),
    ("augment.horizontal_flip", data_is("mirror_safe", False), "data.mirror_safe=false forbids it"),
    ("augment.crop_scale_min", data_is("crop_safe", False), "data.crop_safe=false forbids crops"),
    ("augment.crop_px", data_is("crop_safe", False), "data.crop_safe=false forbids crops"),
    ("augment.iou_crop", data_is("crop_safe", False), "data.crop_safe=false forbids crops"),
    ("param_groups.layer_decay", trains_head_alone, "only the head trains"),
    ("param_groups.head_lr_factor", trains_head_alone, "only the head trains"),
    ("backbone.stochastic_depth", trains_head_alone, "only the head trains, and what is frozen drops nothing"),
    ("soup", keeps_no_checkpoint, "callbacks=none keeps no checkpoints"),
    ("checkpoint_every_n_steps", keeps_no_checkpoint, "callbacks=none keeps no checkpoints"),
    ("trainer.log_every_n_steps", lambda settings: not settings.logger, "logger=none logs nothing"),
    ("lr_find", is_dry, "fast_dev_run tries nothing out"),
    ("batch_size_find", is_dry, "fast_dev_run tries nothing out"),
]
