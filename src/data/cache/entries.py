"""Entries of the cache folder: complete and unharmed, or not there at all; oldest out first when there are too many.

An entry is a folder with the files that were kept and `entry.json`, written last: the size and the checksums of each.
It is filled under a name of its own and renamed when it is complete. Several runs, on several machines, may share the
cache folder: one fills an entry while the others wait (src/data/cache/locks.py), and none deletes what another uses.
"""

import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from src.data.cache.locks import OWNER, filling_alone, lock_shared, owner_of_this_process, writing
from src.data.cache.manifest import find_damage, write_manifest
from src.data.cache.room import MANIFEST, delete, make_room
from src.settings.errors import ConfigError

log = logging.getLogger(__name__)


def entry_name(kind: str, *parts: str) -> str:
    """Of an entry that depends on `parts`."""
    return f"{kind}_{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:20]}"


def open_entry(
    folder: Path,
    fill: Callable[[Path], None],
    most_gb: float | None = None,
    find_outdated: Callable[[Path], str] | None = None,
    read_all: bool = True,
) -> IO[bytes]:
    """Make sure that the entry is there and unharmed; if not, `fill` writes its files into a folder that it is given.

    Beyond `most_gb` of all entries together, those that were not used for longest are deleted. `find_outdated` says why
    an entry is not what `fill` would make now, or "". `read_all`: contents are compared and not only sizes, once in
    each process; one process of a run does it.

    Returns a lock: while it is open, no other run deletes the entry. Raises ConfigError if the disk refuses to write.
    """
    lock, damage = use_entry(folder, read_all, find_outdated)
    if lock is None:
        with filling_alone(folder):
            lock, damage = use_entry(folder, read_all, find_outdated)  # another run may have filled it
            if lock is None:
                if damage:
                    log.warning("%s is made anew: %s.", folder, damage)
                    with writing(folder.parent):
                        delete(folder)
                with new_entry(folder) as temporary:
                    fill(temporary)
                lock, damage = use_entry(folder, read_all=False)
    if lock is None:
        raise ConfigError(f"data.cache_dir='{folder.parent}': {folder.name} has just been filled, and now {damage}.")
    if read_all and most_gb is not None:
        make_room(folder.parent, most_gb)
    return lock


def use_entry(
    folder: Path, read_all: bool, find_outdated: Callable[[Path], str] | None = None
) -> tuple[IO[bytes] | None, str]:
    """A lock on the entry, which is then marked as just used; or None, and what is wrong if there is one."""
    if not os.path.lexists(folder):
        return None, ""
    lock = lock_shared(folder / MANIFEST)
    damage = find_damage(folder, read_all)
    if not damage and read_all and find_outdated is not None:
        damage = find_outdated(folder)
    if lock is not None and not damage:
        with suppress(OSError):  # of a folder that may only be read
            os.utime(folder / MANIFEST)
        return lock, ""
    if lock is not None:
        lock.close()
    return None, damage or f"{MANIFEST} cannot be opened"


@contextmanager
def new_entry(folder: Path) -> Iterator[Path]:
    """A folder to write to, which becomes the entry `folder` at the end, unless something fails."""
    # The name is new: processes in containers have the same small numbers.
    temporary = folder.with_name(f"{folder.name}.{secrets.token_hex(8)}.tmp")
    with writing(folder.parent):
        try:
            temporary.mkdir(parents=True)
            (temporary / OWNER).write_text(json.dumps(owner_of_this_process(folder)), encoding="utf-8")
            yield temporary
            (temporary / OWNER).unlink()
            write_manifest(temporary)
            put_in_place(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(temporary: Path, folder: Path) -> None:
    try:
        temporary.rename(folder)
    except OSError:
        if not os.path.lexists(folder):
            raise
        if find_damage(folder, read_all=False):
            delete(folder)
            temporary.rename(folder)
        # else another run was faster, and its entry is as good


def require_space(folder: Path, needed: int) -> None:
    """Raise ConfigError unless the disk has room for `needed` bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > 0.9 * free:
        raise ConfigError(
            f"data.cache needs {needed / 1e9:.1f} GB in data.cache_dir='{folder}', where {free / 1e9:.1f} GB are free: "
            "name another folder, or set data.cache=none."
        )
