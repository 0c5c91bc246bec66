"""Settings that were typed and have no effect beside the others: told, since somebody expects something of them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.settings.contradictions import target_of


def void_settings(cfg: DictConfig, typed: Iterable[str]) -> Iterator[str]:
    """A sentence for each of the keys in `typed` that does nothing in this run."""
    for key in typed:
        for prefix, is_void, why in RULES:
            if (key == prefix or key.startswith(f"{prefix}.")) and is_void(cfg):
                yield f"{key} has no effect: {why}."
                break


def get(cfg: DictConfig, key: str) -> Any:
    return OmegaConf.select(cfg, key)


def trains_head_alone(cfg: DictConfig) -> bool:
    return all(phase.train == "head" for phase in cfg.freeze.phases)


def never_trains_head_alone(cfg: DictConfig) -> bool:
    return all(phase.train != "head" for phase in cfg.freeze.phases)


def keeps_no_checkpoint(cfg: DictConfig) -> bool:
    return not any("Checkpoint" in target_of(node) for node in cfg.callbacks.values())


def splits_by_file(cfg: DictConfig) -> bool:
    return get(cfg, "data.split_file") is not None


def keeps_whole_images(cfg: DictConfig) -> bool:
    return get(cfg, "data.resize_mode") in ("fit", "stretch")


RULES: list[tuple[str, Callable[[DictConfig], bool], str]] = [
    ("data.fold", lambda cfg: get(cfg, "data.folds") is None, "data.folds=<number> says that there are folds"),
    ("data.val_fraction", splits_by_file, "data.split_file says which images are val"),
    ("data.val_fraction", lambda cfg: get(cfg, "data.folds") is not None, "with data.folds val is one of the folds"),
    ("data.test_fraction", splits_by_file, "data.split_file says which images are test"),
    ("data.split_seed", splits_by_file, "data.split_file says how the images are split"),
    ("data.cache_views", never_trains_head_alone, "no phase of the freeze plan trains the head alone"),
    ("data.cache_dir", lambda cfg: get(cfg, "data.cache") == "none", "data.cache=none keeps nothing"),
    ("data.resize_px", keeps_whole_images, "data.resize_mode=fit and stretch scale to data.image_size_px"),
    ("augment.horizontal_flip", lambda cfg: get(cfg, "data.mirror_safe") is False, "data.mirror_safe=false forbids it"),
    ("augment.crop_scale_min", lambda cfg: get(cfg, "data.crop_safe") is False, "data.crop_safe=false forbids crops"),
    ("augment.crop_px", lambda cfg: get(cfg, "data.crop_safe") is False, "data.crop_safe=false forbids crops"),
    ("param_groups.layer_decay", trains_head_alone, "only the head trains"),
    ("param_groups.head_lr_factor", trains_head_alone, "only the head trains"),
    ("backbone.stochastic_depth", trains_head_alone, "only the head trains, and what is frozen drops nothing"),
    ("soup", keeps_no_checkpoint, "callbacks=none keeps no checkpoints"),
    ("checkpoint_every_n_steps", keeps_no_checkpoint, "callbacks=none keeps no checkpoints"),
    ("trainer.log_every_n_steps", lambda cfg: not cfg.logger, "logger=none logs nothing"),
    ("lr_find", lambda cfg: bool(get(cfg, "trainer.fast_dev_run")), "fast_dev_run tries nothing out"),
    ("batch_size_find", lambda cfg: bool(get(cfg, "trainer.fast_dev_run")), "fast_dev_run tries nothing out"),
]
