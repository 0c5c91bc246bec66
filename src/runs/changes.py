"""What a command line changes in the settings of a resumed run, and what may not change."""

import logging
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.cli.mistakes import message_of
from src.cli.quoting import value_of
from src.settings.check import leaves
from src.settings.errors import ConfigError

log = logging.getLogger(__name__)

PATHS_OF_DATA = ("data.root", "data.file", "data.split_file")
# What the checkpoint's optimizer, schedule and weights hold, and would silently win over the command line.
KEPT_ON_RESUMING = (
    "backbone", "head", "freeze", "loss", "optimizer", "scheduler", "task", "param_groups", "ema_decay", "seed",
    "output_dir", "name",
)  # fmt: skip


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
