"""Going on with an interrupted run: whose settings hold, what may change, and whether the data are still the same."""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.checkpoint import find_checkpoint, load_checkpoint
from src.cli import resume_changes
from src.errors import ConfigError
from src.run_dir import resumed_run_dir
from src.tasks.base import CHECKPOINT_KEY, moved
from src.train import PATHS_OF_DATA
from src.validate import check_settings, leaves

log = logging.getLogger("src.resume")


def resumed_settings(cfg: DictConfig) -> tuple[DictConfig, Path, dict[str, Any]] | None:
    """The settings kept in the checkpoint with this command line's values on top, the checkpoint's file and content.

    None if `resume` is auto and output_dir has no checkpoint.
    Raises ConfigError if there is no checkpoint, or if something changes that a resumed run has to keep.
    """
    automatic = cfg.resume == "auto"
    resume = str(cfg.output_dir) if automatic else cfg.resume
    run_dir = resumed_run_dir(Path(resume)).resolve()
    if not (run_dir / "checkpoints" / "last.ckpt").is_file() and (automatic or Path(resume).is_dir()):
        if automatic:
            log.info("There is no checkpoint in %s yet: a new run starts.", cfg.output_dir)
            return None
        raise ConfigError(
            f"resume='{cfg.resume}': there is no checkpoints/last.ckpt yet, since the run ended within its "
            "first epoch. Start it again with its own command."
        )
    file = find_checkpoint(resume, "last")
    checkpoint = load_checkpoint(file)
    settings = checkpoint[CHECKPOINT_KEY]["config"]
    resumed = OmegaConf.create(moved(settings, settings["output_dir"], str(run_dir)))
    if automatic:
        for key, value in different_values(resumed, cfg).items():
            set_value(resumed, key, value, f"{key}={value}")
    for text in resume_changes:
        change(resumed, text)
    check_settings(resumed, {})
    log.info("Resuming %s", file)
    return resumed, file, checkpoint


def different_values(old: DictConfig, new: DictConfig) -> dict[str, Any]:
    """What the settings `new` say otherwise than a checkpoint's, by dotted key."""
    before = dict(leaves(OmegaConf.to_container(old, resolve=True)))
    after = dict(leaves(OmegaConf.to_container(new, resolve=True)))
    kept = ("resume", "output_dir", *PATHS_OF_DATA)  # paths may be relative here and absolute there
    inside = {key for key, value in before.items() if str(value).startswith(str(old.output_dir))}
    return {k: v for k, v in after.items() if v != before.get(k, ...) and k not in kept and k not in inside}


# What the checkpoint's optimizer, schedule and weights hold, and would silently win over the command line.
KEPT_ON_RESUMING = (
    "backbone",
    "head",
    "freeze",
    "loss",
    "optimizer",
    "scheduler",
    "task",
    "param_groups",
    "ema_decay",
    "seed",
    "output_dir",
    "name",
)


def change(resumed: DictConfig, text: str) -> None:
    """Apply one `key=value` to the settings of a resumed run."""
    key, _, value = text.lstrip("+").partition("=")
    old = OmegaConf.select(resumed, key, default=...)
    if old is ... and not text.startswith("+") and key.split(".")[0] not in KEPT_ON_RESUMING:
        raise ConfigError(f"{key} is no setting of the resumed run (+{text} adds it).")
    set_value(resumed, key, OmegaConf.create(f"x: {value}").x, text)


def set_value(resumed: DictConfig, key: str, value: Any, text: str) -> None:
    if key.split(".")[0] in KEPT_ON_RESUMING:
        raise ConfigError(f"{text} cannot be combined with resume: a resumed run keeps its {key.split('.')[0]}.")
    if OmegaConf.is_dict(OmegaConf.select(resumed, key)):
        raise ConfigError(
            f"{text} cannot be combined with resume: only single values ({key}.<key>=<value>) can change."
        )
    OmegaConf.update(resumed, key, value, force_add=True)
    log.info("Changed on resuming: %s", text)


def compare_data(checkpoint: dict[str, Any], class_names: list[str], fingerprint: str) -> None:
    """Raise ConfigError if the classes are others than those of the interrupted run; warn if the pictures are."""
    record = checkpoint[CHECKPOINT_KEY]
    if class_names != record["class_names"]:
        raise ConfigError(
            f"The data have other classes ({', '.join(class_names)}) than when the run was interrupted "
            f"({', '.join(record['class_names'])}): start a new run."
        )
    if fingerprint != record["data_fingerprint"]:
        log.warning(
            "The data have changed since the run was interrupted, and so may the splits have: val and test may now "
            "hold pictures that were trained on. A new run would be clean."
        )


def require_same_batches(checkpoint: dict[str, Any], batch_size: int, accumulated: int, processes: int) -> None:
    """Raise ConfigError if an epoch that was interrupted within cannot be cut into the same batches again."""
    record = checkpoint[CHECKPOINT_KEY]
    old = record["config"]
    before = (old["data"]["batch_size"], old["trainer"]["accumulate_grad_batches"], record["processes"])
    if record["batches_done"] and before != (batch_size, accumulated, processes):
        raise ConfigError(
            f"The run was interrupted within an epoch, {record['batches_done']} batches into it, with data.batch_size="
            f"{before[0]}, trainer.accumulate_grad_batches={before[1]} and {before[2]} process(es): until that epoch "
            f"has ended these have to stay, and not become {batch_size}, {accumulated} and {processes}."
        )


def was_stopped_early(checkpoint: dict[str, Any]) -> bool:
    """Whether early stopping had ended the phase in which the checkpoint was written."""
    states = [state for key, state in checkpoint["callbacks"].items() if key.startswith("PhaseEarlyStopping")]
    return any(state["stopped_epoch"] and state["wait_count"] >= state["patience"] for state in states)
