"""Settings that were typed and have no effect beside the others: told, since somebody expects something of them."""

from collections.abc import Callable, Iterable, Iterator

from src.settings.kinds import names_a
from src.settings.train_schema import TrainConfig


def void_settings(settings: TrainConfig, typed: Iterable[str]) -> Iterator[str]:
    """A sentence for each of the keys in `typed` that does nothing in this run."""
    for key in typed:
        for prefix, is_void, why in RULES:
            if (key == prefix or key.startswith(f"{prefix}.")) and is_void(settings):
                yield f"{key} has no effect: {why}."
                break


def trains_head_alone(settings: TrainConfig) -> bool:
    return all(phase.train == "head" for phase in settings.freeze.phases)


def never_trains_head_alone(settings: TrainConfig) -> bool:
    return all(phase.train != "head" for phase in settings.freeze.phases)


def keeps_no_checkpoint(settings: TrainConfig) -> bool:
    return not any(names_a(node, "lightning.pytorch.callbacks.Checkpoint") for node in settings.callbacks.values())


def splits_by_file(settings: TrainConfig) -> bool:
    return settings.data.get("split_file") is not None


def has_no_folds(settings: TrainConfig) -> bool:
    return settings.data.get("folds") is None


def forbids_crops(settings: TrainConfig) -> bool:
    return settings.data.get("crop_safe") is False


def keeps_whole_images(settings: TrainConfig) -> bool:
    return settings.data.get("resize_mode") in ("fit", "stretch")


def is_dry(settings: TrainConfig) -> bool:
    return bool(settings.trainer.get("fast_dev_run"))


RULES: list[tuple[str, Callable[[TrainConfig], bool], str]] = [
    ("data.fold", has_no_folds, "data.folds=<number> says that there are folds"),
    ("data.val_fraction", splits_by_file, "data.split_file says which images are val"),
    ("data.val_fraction", lambda settings: not has_no_folds(settings), "with data.folds val is one of the folds"),
    ("data.test_fraction", splits_by_file, "data.split_file says which images are test"),
    ("data.split_seed", splits_by_file, "data.split_file says how the images are split"),
    ("data.cache_views", never_trains_head_alone, "no phase of the freeze plan trains the head alone"),
    ("data.cache_dir", lambda settings: settings.data.get("cache") == "none", "data.cache=none keeps nothing"),
    ("data.resize_px", keeps_whole_images, "data.resize_mode=fit and stretch scale to data.image_size_px"),
    (
        "augment.horizontal_flip",
        lambda settings: settings.data.get("mirror_safe") is False,
        "data.mirror_safe=false forbids it",
    ),
    ("augment.crop_scale_min", forbids_crops, "data.crop_safe=false forbids crops"),
    ("augment.crop_px", forbids_crops, "data.crop_safe=false forbids crops"),
    ("param_groups.layer_decay", trains_head_alone, "only the head trains"),
    ("param_groups.head_lr_factor", trains_head_alone, "only the head trains"),
    ("backbone.stochastic_depth", trains_head_alone, "only the head trains, and what is frozen drops nothing"),
    ("soup", keeps_no_checkpoint, "callbacks=none keeps no checkpoints"),
    ("checkpoint_every_n_steps", keeps_no_checkpoint, "callbacks=none keeps no checkpoints"),
    ("trainer.log_every_n_steps", lambda settings: not settings.logger, "logger=none logs nothing"),
    ("lr_find", is_dry, "fast_dev_run tries nothing out"),
    ("batch_size_find", is_dry, "fast_dev_run tries nothing out"),
]
