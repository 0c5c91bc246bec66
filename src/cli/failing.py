"""The end of a command that failed: a message on stderr and in the log, and the exit status."""

import logging
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn, cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from src.cli.mistakes import is_bug, message_of
from src.cli.run_dir import remove_if_unused
from src.files.printable import printable
from src.settings.errors import ConfigError, RunStopped

log = logging.getLogger(__name__)


def fail(message: str, status: int = 1) -> NoReturn:
    """End the program with a message on stderr and in the log, and take away the run directory if it is still empty."""
    print(printable(message), file=sys.stderr)
    note_in_log(message)
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.RUN:
        made = OmegaConf.select(cast(Any, HydraConfig.get()), "runtime.output_dir", throw_on_missing=False)
        if made is not None:
            remove_if_unused(Path(made))
    sys.exit(status)


def fail_with(error: Exception, config_name: str) -> NoReturn:
    """`fail` with what the error means to the user; where it happened is in the run's log, or shown if it is a bug."""
    where = "".join(traceback.format_exception(error))
    if is_bug(error):
        fail(f"{where}\nThis is a fault of the program, and not of your settings or data: please report it.")
    if not isinstance(error, ConfigError | RunStopped):
        note_in_log(where)
    fail(message_of(error, config_name), error.status if isinstance(error, RunStopped) else 1)


def note_in_log(text: str) -> None:
    """Only in the file, if something was logged before."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler) and handler.stream is not None:
            handler.emit(log.makeRecord(log.name, logging.ERROR, "", 0, text, (), None))
