"""Going on with an interrupted run: its last checkpoint, and which settings hold."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.cli.command_line import resumed_run_dir
from src.cli.mistakes import message_of
from src.cli.quoting import value_of
from src.runs.checkpoint import load_checkpoint
from src.runs.progress import Progress
from src.runs.record import RunRecord, moved
from src.runs.resumed_state import check_resumable, epochs_of
from src.settings.check import check_settings, find_checkpoint, leaves
from src.settings.errors import ConfigError
from src.settings.schema import TrainConfig
from src.settings.signatures import no_download
from src.settings.trust import plain_config, require_own_paths, require_own_targets

log = logging.getLogger(__name__)


PATHS_OF_DATA = ("data.root", "data.file", "data.split_file")
# What the checkpoint's optimizer, schedule and weights hold, and would silently win over the command line.
KEPT_ON_RESUMING = (
    "backbone", "head", "freeze", "loss", "optimizer", "scheduler", "task", "param_groups", "ema_decay", "seed",
    "output_dir", "name",
)  # fmt: skip


class Interrupted(NamedTuple):
    """What the last checkpoint of an interrupted run says; all of it is checked.

    `epochs`: that the training loop has counted. `early_stopping`: the states of the callbacks that end phases.
    """

    file: Path
    record: RunRecord
    progress: Progress
    epochs: int
    early_stopping: list[dict[str, Any]]


def find_interrupted(wanted: str, output_dir: Path) -> Interrupted | None:
    """What `resume` names. None if it is auto and output_dir has no checkpoint; ConfigError if there is none else."""
    automatic = wanted == "auto"
    resume = str(output_dir) if automatic else wanted
    run_dir = resumed_run_dir(Path(resume)).resolve()
    if not (run_dir / "checkpoints" / "last.ckpt").is_file() and (automatic or Path(resume).is_dir()):
        if automatic:
            log.info("There is no checkpoint in %s yet: a new run starts.", output_dir)
            return None
        raise ConfigError(
            f"resume='{wanted}': there is no checkpoints/last.ckpt yet, since the run ended within its "
            "first epoch. Start it again with its own command."
        )
    file = find_checkpoint(resume, "last")
    checkpoint, record = load_checkpoint(file)
    progress = Progress.of(checkpoint, file)
    check_resumable(checkpoint, record, progress, file)
    require_same_run(record, file, run_dir)
    stopping = [state for key, state in checkpoint["callbacks"].items() if key.startswith("PhaseEarlyStopping")]
    return Interrupted(file, record, progress, epochs_of(checkpoint["loops"]), stopping)


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
        require_own_paths(settings, plain, before.file, run_dir)
    resumed = cast(DictConfig, OmegaConf.merge(OmegaConf.structured(TrainConfig), plain_config(settings)))
    resumed.trust = own.trust  # of this command, whatever the file says
    if not own.trust:
        resumed.data.update(no_download(resumed.data))
    if own.resume == "auto":
        for key, value in different_values(resumed, own).items():
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


def require_same_run(record: RunRecord, file: Path, run_dir: Path) -> None:
    """Raise ConfigError if the checkpoint is of another run than the files of the directory, which it would mix."""
    facts = run_dir / "environment.json"
    try:
        known = json.loads(facts.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # the run left nothing to compare with
    if isinstance(known, dict) and known.get("run_id") not in (None, record.run_id):
        raise ConfigError(
            f"'{file}' is the checkpoint of another run than the one in {run_dir}, and going on with it would mix the "
            "files of the two: put it into its own run's directory, or into a new one (<dir>/checkpoints/last.ckpt)."
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
