"""The bound of the cache folder: the entries that were not used for longest are deleted first."""

import logging
import os
import re
import secrets
import shutil
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from src.data.cache.locks import is_abandoned, is_unused

log = logging.getLogger(__name__)

MANIFEST = "entry.json"  # of an entry; its time is that of the last use
ENTRY = re.compile("(images|features|annotations)_[0-9a-f]{20}")
UNFINISHED = re.compile(rf"{ENTRY.pattern}\..+\.tmp")
FILES = {MANIFEST, "pixels.bin", "index.npz", "unreadable.json", "features.bin", "facts.json", "boxes.npz"}


def make_room(cache_dir: Path, most_gb: float) -> None:
    """Delete the entries not used for longest, down to `most_gb`. What a run uses stays, and whatever is no entry."""
    with suppress(OSError):
        for path in cache_dir.iterdir():
            if UNFINISHED.fullmatch(path.name) and is_abandoned(path):
                log.info("Deleted %s, which another run has left half filled.", path)
                shutil.rmtree(path, ignore_errors=True)
    sizes = {folder: size for folder in cache_dir.iterdir() if (size := size_of_entry(folder)) is not None}
    total = sum(sizes.values())
    for folder in sorted(sizes, key=last_use):
        if total <= most_gb * 1e9:
            return
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(last_use(folder)))
        if is_unused(folder / MANIFEST, partial(delete, folder)):
            total -= sizes[folder]
            log.info(
                "Deleted %s (%.2f GB, last used %s): data.cache_gb=%g is the most that data.cache_dir may hold.",
                folder, sizes[folder] / 1e9, since, most_gb,
            )  # fmt: skip
    if total > most_gb * 1e9:
        log.warning(
            "data.cache_dir='%s' holds %.2f GB, more than data.cache_gb=%g: the rest is in use.",
            cache_dir, total / 1e9, most_gb,
        )  # fmt: skip


def size_of_entry(folder: Path) -> int | None:
    """In bytes; None if this is no entry, or holds something else besides."""
    if not ENTRY.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
        return None
    try:
        sizes = {file.name: file.stat().st_size for file in folder.iterdir() if file.is_file()}
        whole = len(sizes) == sum(1 for _ in folder.iterdir())
    except OSError:  # being deleted by another run
        return None
    return sum(sizes.values()) if whole and sizes.keys() <= FILES else None


def last_use(folder: Path) -> float:
    """In seconds since 1970."""
    for path in (folder / MANIFEST, folder):
        with suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def delete(folder: Path) -> None:
    """All at once for other runs: it gets another name first."""
    aside = folder.with_name(f"{folder.name}.{secrets.token_hex(8)}.tmp")
    folder.rename(aside)
    remove: Any = shutil.rmtree if aside.is_dir() and not aside.is_symlink() else os.unlink
    with suppress(OSError):
        remove(aside)
