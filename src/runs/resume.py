"""Going on with an interrupted run: whose settings hold, what may change, and whether the data are still the same."""

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from lightning import Callback, Trainer
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.build.build import no_download
from src.cli.command_line import changes_on_resuming, resumed_run_dir
from src.cli.mistakes import message_of
from src.cli.quoting import value_of
from src.runs.checkpoint import find_checkpoint, load_checkpoint
from src.runs.record import CHECKPOINT_KEY, moved
from src.runs.resumed_state import check_resumable
from src.settings.check import check_settings, leaves
from src.settings.errors import ConfigError
from src.settings.train_schema import TrainConfig
from src.settings.trust import plain_config, require_own_paths, require_own_targets
from src.train import PATHS_OF_DATA
from src.training.callbacks.early_stopping import PhaseEarlyStopping
from src.training.phases import Phase, shares

log = logging.getLogger(__name__)


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
    record = checkpoint[CHECKPOINT_KEY]
    check_resumable(checkpoint, record, file)
    require_same_run(record, file, run_dir)
    settings = moved(record["config"], record["config"]["output_dir"], str(run_dir))
    if not cfg.trust:
        own = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
        require_own_targets(settings, file)
        require_own_paths(settings, own, file, run_dir)
    resumed = cast(DictConfig, OmegaConf.merge(OmegaConf.structured(TrainConfig), plain_config(settings)))
    resumed.trust = cfg.trust  # of this command, whatever the file says
    if not cfg.trust:
        resumed.data.update(no_download(resumed.data))
    before = dict(leaves(settings))
    if automatic:
        for key, value in different_values(resumed, cfg).items():
            set_value(resumed, key, value, f"{key}={value}")
    for text in changes_on_resuming(sys.argv[1:]):
        change(resumed, text)
    problems = wrong_kinds_of_changes(resumed, before)
    if problems:
        raise ConfigError("\n".join(problems))
    check_settings(resumed, {})
    log.info("Resuming %s", file)
    return resumed, file, checkpoint


def require_same_run(record: dict[str, Any], file: Path, run_dir: Path) -> None:
    """Raise ConfigError if the checkpoint is of another run than the files of the directory, which it would mix."""
    facts = run_dir / "environment.json"
    try:
        known = json.loads(facts.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # the run left nothing to compare with
    if isinstance(known, dict) and known.get("run_id") not in (None, record.get("run_id")):
        raise ConfigError(
            f"'{file}' is the checkpoint of another run than the one in {run_dir}, and going on with it would mix the "
            "files of the two: put it into its own run's directory, or into a new one (<dir>/checkpoints/last.ckpt)."
        )


def wrong_kinds_of_changes(resumed: DictConfig, before: dict[str, Any]) -> list[str]:
    """A number that is changed must stay a number, true or false one of the two, and a list a list."""
    problems = []
    for key, value in leaves(OmegaConf.to_container(resumed)):
        old = before.get(key, ...)
        if value == old or value is None or old is ... or old is None:
            continue
        kinds = ((bool, "true or false"), (int | float, "a number"), (list, "a list such as [1, 2]"))
        wanted = next(((kind, word) for kind, word in kinds if isinstance(old, kind)), None)
        if wanted and not (isinstance(value, wanted[0]) and isinstance(value, bool) == isinstance(old, bool)):
            problems.append(f"{key}={value!r} is not {wanted[1]}.")
    return problems


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
    """Apply one `key=value`, or `~key` of a callback or logger, to the settings of a resumed run."""
    key = text.lstrip("+~").partition("=")[0]
    old = OmegaConf.select(resumed, key, default=...)
    if text.startswith("~"):
        group, _, name = key.partition(".")
        if group not in ("callbacks", "logger") or old is ...:
            raise ConfigError(f"{text} cannot be combined with resume: only callbacks and loggers can be left out.")
        del resumed[group][name]
        return
    if old is ... and not text.startswith("+") and key.split(".")[0] not in KEPT_ON_RESUMING:
        raise ConfigError(f"{key} is no setting of the resumed run (+{text} adds it).")
    set_value(resumed, key, value_of(text), text)


def set_value(resumed: DictConfig, key: str, value: Any, text: str) -> None:
    if key.split(".")[0] in KEPT_ON_RESUMING:
        raise ConfigError(f"{text} cannot be combined with resume: a resumed run keeps its {key.split('.')[0]}.")
    if OmegaConf.is_dict(OmegaConf.select(resumed, key)):
        raise ConfigError(
            f"{text} cannot be combined with resume: only single values ({key}.<key>=<value>) can change."
        )
    try:
        OmegaConf.update(resumed, key, value, force_add=True)
    except OmegaConfBaseException as error:
        raise ConfigError(message_of(error)) from error
    log.info("Changed on resuming: %s", text)


def compare_data(checkpoint: dict[str, Any], class_names: list[str], fingerprint: str) -> None:
    """Raise ConfigError if the classes are others than those of the interrupted run; warn if the images are."""
    record = checkpoint[CHECKPOINT_KEY]
    if class_names != record["class_names"]:
        raise ConfigError(
            f"The data have other classes ({', '.join(class_names)}) than when the run was interrupted "
            f"({', '.join(record['class_names'])}): start a new run."
        )
    if fingerprint != record["data_fingerprint"]:
        log.warning(
            "The data have changed since the run was interrupted, and so may the splits have: val and test may now "
            "hold images that were trained on. A new run would be clean."
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


def lengthened(phases: list[Phase], plan: list[int | None], record: dict[str, Any], max_epochs: int) -> list[Phase]:
    """The phases with the epochs that they had, or, where trainer.max_epochs has changed, a share of what is left.

    Args:
        phases: of the whole plan.
        plan: epochs that the plan gives to each phase; None = a share of the rest.
        record: of the checkpoint.
        max_epochs: that are wanted now.

    Raises:
        ConfigError: if fewer are wanted than there were, or too few for the phases that are left.
    """
    epochs, first = list(record["phase_epochs"]), record["phase"]
    if max_epochs != record["config"]["trainer"]["max_epochs"]:
        left = max_epochs - record["phase_start_epoch"]
        if left < record["epochs_done"] - record["phase_start_epoch"] or left < len(plan) - first:
            raise ConfigError(
                f"trainer.max_epochs={max_epochs} is less than the {record['epochs_done']} epochs that the run has "
                f"trained, and what its freeze plan still has to do (phase {first + 1} of {len(plan)}): raise it."
            )
        epochs[first:] = shares(plan[first:], left)
    return [replace(phase, epochs=number) for phase, number in zip(phases, epochs, strict=True)]


def find_early_stopping(trainer: Trainer) -> PhaseEarlyStopping | None:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next((callback for callback in callbacks if isinstance(callback, PhaseEarlyStopping)), None)


def why_nothing_is_left(checkpoint: dict[str, Any], stopping: PhaseEarlyStopping | None, epochs: int) -> str | None:
    """What to say of an interrupted phase that had ended already; None if there is something to train in it.

    Args:
        checkpoint: of the run.
        stopping: what may have ended it early, with the patience that it is given now.
        epochs: of the phase, as they are wanted now.
    """
    record = checkpoint[CHECKPOINT_KEY]
    done = record["epochs_done"]
    states = [state for key, state in checkpoint["callbacks"].items() if key.startswith("PhaseEarlyStopping")]
    for state in states:
        if stopping is not None and state["stopped_epoch"] and state["wait_count"] >= stopping.patience:
            return (
                f"Early stopping had ended phase {record['phase'] + 1} with epoch {done}, after {state['wait_count']} "
                f"epochs without a better {stopping.monitor}: it is not trained any more. "
                "callbacks.early_stopping.patience=<more> goes on with it."
            )
    if done >= record["phase_start_epoch"] + epochs and record["phase"] == len(record["phase_epochs"]) - 1:
        return f"The run had ended with epoch {done}, and nothing is left to train: trainer.max_epochs=<more> goes on."
    return None
