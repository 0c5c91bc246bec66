"""Who uses and who fills an entry of the cache, told by locks of the operating system, which end with their process.

Where there are none (Windows, some network disks), two runs may fill the same entry, of which the faster one wins; and
whether an entry is in use is told by the time of its last use.
"""

import json
import logging
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from src.files.printable import printable
from src.settings.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

OWNER = "filling.json"  # in a folder that is being filled: who does it
POLL_SECONDS = 0.5
LONG_AGO_SECONDS = 7 * 24 * 3600  # nobody fills an entry for a week without writing, nor uses one without a lock
COMMAND_LENGTH = 200

_filling: set[Path] = set()  # entries that this process has locked


def lock_shared(file: Path) -> IO[bytes] | None:
    """The open file, locked against deletion; None if it is not there, or about to be deleted."""
    try:
        stream = file.open("rb")
    except OSError:
        return None
    try:
        _lock(stream, alone=False)
    except BlockingIOError:
        stream.close()
        return None
    return stream


def is_unused(file: Path, delete: Callable[[], None]) -> bool:
    """Whether no run has a lock on `file`. It is deleted before one can get it; False too if that does not work."""
    try:
        with file.open("rb") as stream:
            if _lock(stream):
                delete()
                return True
        if time.time() - file.stat().st_mtime < LONG_AGO_SECONDS:
            return False
        delete()  # of a file that is closed: Windows deletes no open one
    except FileNotFoundError:  # damaged, so nobody can use it
        with suppress(OSError):
            delete()
            return True
        return False
    except OSError:
        return False
    return True


def _lock(stream: IO[Any], alone: bool = True) -> bool:
    """False where there are no locks. Raises BlockingIOError if another process has one."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(stream, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


@contextmanager
def writing(cache_dir: Path) -> Iterator[None]:
    """Turns what the disk refuses into a ConfigError."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"data.cache_dir='{cache_dir}' cannot be written ({error.strerror or error}): name another folder, or set "
            "data.cache=none."
        ) from error


@contextmanager
def filling_alone(folder: Path) -> Iterator[None]:
    """Wait until no other run fills the entry `folder`, and keep others from it meanwhile. The log says whose it is."""
    file = folder.with_name(f"{folder.name}.lock")
    with writing(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = _wait_for(file, folder)
    try:
        if lock is not None:
            _filling.add(folder)
            with suppress(OSError):  # on a full disk, which the filling will meet itself
                lock.truncate(0)
                lock.write(json.dumps(owner_of_this_process(folder)).encode())
        yield
    finally:
        _filling.discard(folder)
        with suppress(OSError):
            file.unlink()  # while it is locked: whoever waits for it sees that it has lost its name
        if lock is not None:
            lock.close()


def _wait_for(file: Path, folder: Path) -> IO[bytes] | None:
    """The open file with the lock; None where there are no locks."""
    said = False
    while True:
        lock = file.open("a+b", buffering=0)
        try:
            locked = _lock(lock)
        except BlockingIOError:
            if not said:
                lock.seek(0)
                log.info("Waiting for %s, which another run fills (%s).", folder, owner_text(lock.read()))
            said = True
            lock.close()
            time.sleep(POLL_SECONDS)
            continue
        if not locked:
            lock.close()
            return None
        with suppress(FileNotFoundError):
            if os.fstat(lock.fileno()).st_ino == file.stat().st_ino:
                return lock
        lock.close()


def owner_of_this_process(folder: Path) -> dict[str, Any]:
    """What another run is told about this one. `locked`: whether it has `folder` for itself."""
    return {
        "host": platform.node(),
        "machine": machine(),
        "pid": os.getpid(),
        "command": shlex.join(sys.argv)[:COMMAND_LENGTH],
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "locked": folder in _filling,
    }


def owner_text(text: bytes) -> str:
    """`process 12 on host a, since 2026-01-01 12:00:00: train.py ...`."""
    try:
        owner = json.loads(text)
        return printable("process {pid} on {host}, since {since}: {command}".format(**owner))
    except (ValueError, KeyError, TypeError):
        return "which does not say who it is"


def machine() -> str:
    """The running system, the same in all containers on it; locks hold between all its processes."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return platform.node()


def is_abandoned(unfinished: Path) -> bool:
    """Whether whoever filled this folder is dead: it had a lock on this machine and has it no more; or long idle."""
    try:
        newest = max(path.stat().st_mtime for path in (unfinished, *unfinished.iterdir()))
        if time.time() - newest > LONG_AGO_SECONDS:
            return True
        owner = json.loads((unfinished / OWNER).read_text(encoding="utf-8"))
        if not owner["locked"] or owner["machine"] != machine():
            return False
    except (OSError, ValueError, KeyError, TypeError):
        return False
    entry = unfinished.with_name(unfinished.name.partition(".")[0])
    if entry in _filling:
        return False
    try:
        with entry.with_name(f"{entry.name}.lock").open("rb") as stream:
            return _lock(stream)
    except FileNotFoundError:
        return True
    except OSError:
        return False
