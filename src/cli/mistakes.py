"""What went wrong: which errors are the user's to fix, what is said of them, and how a command ends. No torch."""

import errno
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, cast

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.cli.hydra_messages import message_of_settings
from src.cli.run_dir import remove_if_unused
from src.files.printable import printable
from src.settings.check import PATHS
from src.settings.errors import ConfigError, RunStopped, causes, first_line
from src.settings.project import PROJECT_ROOT

log = logging.getLogger(__name__)

# What Python raises for mistakes of a program. Raised in our own code these are bugs of ours; anything else is about
# the settings, the data or the machine.
KINDS_OF_BUGS = (
    AssertionError, AttributeError, LookupError, NameError, NotImplementedError, RecursionError, TypeError,
    ZeroDivisionError,
)  # fmt: skip
SOURCES = (PROJECT_ROOT / "src", PROJECT_ROOT / "scripts")


def is_bug(error: BaseException) -> bool:
    """Whether our own code is at fault, so that a traceback helps more than a message."""
    known = isinstance(error, ConfigError | RunStopped | HydraException | OmegaConfBaseException)
    if known or not isinstance(error, KINDS_OF_BUGS):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and any(Path(frames[-1].filename).is_relative_to(source) for source in SOURCES)


def message_of(error: BaseException, config_name: str = "train") -> str:
    """One short text: what was refused, what is allowed, and the nearest right spelling."""
    if isinstance(error, ConfigError | RunStopped):
        return str(error)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return message_of_settings(error, config_name)
    if isinstance(error, OSError):
        return message_of_disk(error)
    said = first_line(error).rstrip(".")
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return f"Out of memory: {said}. A smaller data.batch_size or data.image_size_px needs less."
    if meaning := next((words for pattern, words in MEANINGS.items() if re.search(pattern, str(error))), None):
        return meaning
    where = ""
    if frames := traceback.extract_tb(error.__traceback__):
        parts = Path(frames[-1].filename).parts
        package = parts[parts.index("site-packages") + 1] if "site-packages" in parts[:-1] else parts[-1]
        where = f" (raised in {package})"
    return f"{type(error).__name__}: {said}{where}. HYDRA_FULL_ERROR=1 shows everything."


# What libraries say, and what it means here.
MEANINGS = {
    r"have NCCL built in": "This torch has no NCCL, as under Windows: set trainer.devices=1, or use one GPU per run.",
    r"Config group override must be": "A group takes one of its options: <group>=<option>. --help lists them.",
    r"Expected more than 1 value per channel": (
        "A network with BatchNorm cannot train on batches of one image: raise data.batch_size (or lower "
        "trainer.devices, if these share a few images)."
    ),
}


def message_of_disk(error: OSError) -> str:
    """What is wrong with a file, with the setting that named it if there is one."""
    what, file = error.strerror or first_line(error), str(error.filename or "")
    given = (text.partition("=") for text in sys.argv[1:])
    named = [(key, value.strip("'\"")) for key, _, value in given if value.strip("'\"")]
    setting = next((pair for pair in named if file.startswith(pair[1]) and pair[0].lstrip("+") in PATHS), None)
    if setting is not None:
        where = f" ({file})" if file != setting[1] else ""
        return f"{setting[0]}='{setting[1]}' cannot be used: {what}{where}. Name another path, or make room for it."
    if error.errno in BAD_DISK:
        return f"{what}: {file or 'a file of the run'}. What was written before is unharmed."
    return f"{what}: {file}." if file else f"{type(error).__name__}: {what}."


BAD_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


LOST = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (?:is killed by signal: ([\w ]+)|exited unexpectedly)"
    r"|(unable to \w+ (?:shared memory|file </?torch_|to file </?torch_))"
)


@contextmanager
def lost_workers_told() -> Iterator[None]:
    """Turns torch's error about a worker that was killed, or found no shared memory, into RunStopped.

    torch's tells neither why nor what helps. It raises it wherever the training happens to be when the signal comes, so
    it may be the cause of another error: a checkpoint that could not be written, say.
    """
    try:
        yield
    except Exception as error:
        found = list(LOST.finditer("\n".join(map(str, causes(error)))))
        if not found:
            raise
        signal = next((f" (killed by signal: {one[1].strip()})" for one in found if one[1]), "")
        how = signal or next((f" ({one[2]})" for one in found if one[2]), "")
        raise RunStopped(
            f"A process that reads images was lost{how}. Most often the memory was not enough, or the shared memory "
            "(/dev/shm under Linux): lower data.num_workers (in src.predict num_workers; 0 reads without such "
            "processes) or the batch size; a container gets more with docker run --shm-size=2g. Checkpoints are "
            "unharmed: resume=<run dir> goes on."
        ) from error


def fail(message: str, status: int = 1) -> NoReturn:
    """End the program with a message on stderr and in the log, and take away the run directory if it is still empty."""
    print(printable(message), file=sys.stderr)
    note_in_log(message)
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.RUN:
        made = OmegaConf.select(cast(Any, HydraConfig.get()), "runtime.output_dir", throw_on_missing=False)
        if made is not None:
            remove_if_unused(Path(made))
            root = logging.getLogger()  # a log that was not begun has no folder any more to begin in
            root.handlers = [one for one in root.handlers if not isinstance(one, logging.FileHandler) or one.stream]
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
