"""Which run the settings ask for: a new one, one that goes on, or a dry one; and which settings hold if it goes on."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.cli.command_line import prepare, resumed_run_dir
from src.cli.mistakes import message_of
from src.cli.options import typed_settings
from src.cli.quoting import value_of
from src.cli.run_dir import require_no_run
from src.runs.record import moved
from src.runs.resumed_state import Interrupted, find_interrupted
from src.runs.run import DryRun, ResumedRun, TrainingRun
from src.settings.check import check_settings, leaves
from src.settings.errors import ConfigError
from src.settings.schema import TrainConfig, train_config
from src.settings.signatures import check_targets, no_download
from src.settings.trust import plain_config, require_own_paths, require_own_targets
from src.settings.without_effect import void_settings

log = logging.getLogger(__name__)

PATHS_OF_DATA = ("data.root", "data.file", "data.split_file")
# What the checkpoint's optimizer, schedule and weights hold, and would silently win over the command line.
KEPT_ON_RESUMING = (
    "backbone", "head", "freeze", "loss", "optimizer", "scheduler", "task", "param_groups", "ema_decay", "seed",
    "output_dir", "name", "recipe",
)  # fmt: skip


def open_run(cfg: DictConfig, typed: Sequence[str] = ()) -> TrainingRun:
    """The run that the settings ask for, its paths absolute and every `_target_` checked; warnings tell what is void.

    Settings `typed` beside resume=<run> change those of the resumed run. Raises ConfigError if there is no such run, or
    one where a new one was to be; if settings cannot be changed.
    """
    before = None if cfg.resume is None else find_interrupted(cfg.resume, cfg.output_dir)
    if before is None:
        if cfg.resume is not None:
            log.info("There is no checkpoint in %s yet: a new run starts.", cfg.output_dir)
        require_no_run(Path(cfg.output_dir))
        settings = cfg
    else:
        changes = [] if cfg.resume == "auto" else prepare(typed)[1]
        settings = resumed_settings(cfg, before, changes)
        if settings.trainer.get("fast_dev_run"):
            raise ConfigError(
                "trainer.fast_dev_run is for the settings of a new run: it cannot be combined with resume."
            )
    make_paths_absolute(settings)
    held = train_config(settings)
    check_targets(asdict(held))
    for text in void_settings(held, typed_settings()):
        log.warning("%s", text)
    if before is not None:
        return ResumedRun(held, before)
    return DryRun(held) if held.trainer.get("fast_dev_run") else TrainingRun(held)


def make_paths_absolute(settings: DictConfig) -> None:
    """Those of the data: a checkpoint's settings mean the same in every working directory, and so do cache entries."""
    for key in PATHS_OF_DATA:
        if (path := OmegaConf.select(settings, key)) is not None:
            OmegaConf.update(settings, key, str(Path(path).expanduser().resolve()))


def resumed_settings(own: DictConfig, before: Interrupted, changes: Sequence[str]) -> DictConfig:
    """The settings kept in the checkpoint with this command line's values on top.

    Of this command's `own`, `trust` holds, and with resume=auto whatever differs; `changes` are `key=value` and `~key`,
    typed beside resume=<run>. Raises ConfigError if something changes that a resumed run has to keep.
    """
    run_dir = resumed_run_dir(before.file).resolve()
    settings = moved(before.record.config, str(before.record.output_dir), str(run_dir))
    if not own.trust:
        require_own_targets(settings, before.file)
        plain = cast(dict[str, Any], OmegaConf.to_container(own, resolve=True))
        changed = [text.lstrip("+").partition("=")[0] for text in changes]
        require_own_paths(settings, plain, before.file, run_dir, changed)
    resumed = cast(DictConfig, OmegaConf.merge(OmegaConf.structured(TrainConfig), plain_config(settings)))
    resumed.trust = own.trust  # of this command, whatever the file says
    if not own.trust:
        resumed.data.update(no_download(resumed.data))
    if own.resume == "auto":
        for key, value in different_values(resumed, own).items():
            if value is None and key.split(".")[0] in KEPT_ON_RESUMING and key not in typed_settings():
                continue  # the default was another when the run began
            set_value(resumed, key, value, f"{key}={value}")
    for text in changes:
        change(resumed, text)
    problems = wrong_kinds_of_changes(resumed, dict(leaves(settings)))
    if problems:
        raise ConfigError("\n".join(problems))
    check_settings(resumed, {})
    log.info("Resuming %s", before.file)
    kept = before.record.setting("data.batch_size")
    if resumed.batch_size_find and resumed.data.batch_size != kept:
        log.info("data.batch_size stays %d, as batch_size_find has found it.", kept)
        resumed.data.batch_size = kept
    return resumed


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


def different_values(old: DictConfig, new: DictConfig) -> dict[str, Any]:
    """What the settings `new` say otherwise than a checkpoint's, by dotted key."""
    before = dict(leaves(OmegaConf.to_container(old, resolve=True)))
    after = dict(leaves(OmegaConf.to_container(new, resolve=True)))
    kept = ("resume", "output_dir", *PATHS_OF_DATA)  # paths may be relative here and absolute there
    inside = {key for key, value in before.items() if str(value).startswith(str(old.output_dir))}
    return {k: v for k, v in after.items() if v != before.get(k, ...) and k not in kept and k not in inside}


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
