"""Which run the settings ask for: a new one, one that goes on, or a dry one."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from src.cli.command_line import prepare
from src.cli.options import typed_settings
from src.cli.run_dir import require_no_run
from src.runs.resume import PATHS_OF_DATA, find_interrupted, resumed_settings
from src.runs.run import DryRun, ResumedRun, TrainingRun
from src.settings.contradictions import void_settings
from src.settings.errors import ConfigError
from src.settings.schema import train_config
from src.settings.signatures import check_targets

log = logging.getLogger(__name__)


def open_run(cfg: DictConfig, typed: Sequence[str] = ()) -> TrainingRun:
    """The run that the settings ask for, its paths absolute and every `_target_` checked; warnings tell what is void.

    Settings `typed` beside resume=<run> change those of the resumed run. Raises ConfigError if there is no such run, or
    one where a new one was to be; if settings cannot be changed.
    """
    before = None if cfg.resume is None else find_interrupted(cfg.resume, cfg.output_dir)
    if before is None:
        require_no_run(Path(cfg.output_dir))
        settings = cfg
    else:
        changes = [] if cfg.resume == "auto" else prepare(typed)[1]
        settings = resumed_settings(cfg, before, changes)
        if settings.trainer.get("fast_dev_run"):
            raise ConfigError(
                "trainer.fast_dev_run is for the settings of a new run: it cannot be combined with resume."
            )
    for key in PATHS_OF_DATA:  # the checkpoint's settings mean the same in every working directory
        if (path := OmegaConf.select(settings, key)) is not None:
            OmegaConf.update(settings, key, str(Path(path).expanduser().resolve()))
    held = train_config(settings)
    check_targets(asdict(held))
    for text in void_settings(held, typed_settings()):
        log.warning("%s", text)
    if before is not None:
        return ResumedRun(held, before)
    return DryRun(held) if held.trainer.get("fast_dev_run") else TrainingRun(held)
