"""Checked boxes are kept on disk, so that a million of them are there in seconds the next time.

The entry is named by a fingerprint of the data's files: names, sizes and times of annotations and images alike. It
holds plain arrays, without pickle.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from src.data.annotations.checked import CheckedBoxes
from src.data.annotations.findings import BoxFindings
from src.data.annotations.image_paths import is_below
from src.data.cache.entries import entry_name, open_entry
from src.data.cache.plan import CachePlan
from src.data.folders.walk import is_left_alone
from src.data.outlines import Outlines
from src.data.table import string_column
from src.settings.project import PROJECT_ROOT

log = logging.getLogger(__name__)

FILE = "boxes.npz"
WATCHED, STAMPS = "watched", "stamps"  # folders that the name of the entry says nothing about, and how they were
CODE = ("src/data/annotations", "src/data/formats")  # what reads the files: an entry of other code is another entry


def kept_boxes(
    cache: CachePlan, root: Path, whole_root: bool, settings: str, read: Callable[[], CheckedBoxes]
) -> CheckedBoxes:
    """What `read` gives of the annotations below a root, from the cache if it has them unchanged; kept there otherwise.

    `settings` is what it depends on besides the files. Below the root everything may matter (`whole_root`), or only the
    folders that have annotations or images in them. With data.cache=none nothing is kept.
    """
    if cache.kind == "none":
        return read()
    folder = cache.folder / entry_name(
        "annotations", code_stamp(), str(root.absolute()), settings, fingerprint(root) if whole_root else ""
    )
    fresh: list[CheckedBoxes] = []

    def fill(temporary: Path) -> None:
        fresh.append(read())
        save(fresh[0], temporary / FILE, root if whole_root else None)

    with open_entry(folder, fill, cache.most_gb, find_outdated):
        if fresh:
            return fresh[0]
        found = load(folder / FILE)
    log.info("Annotations of %s are taken from %s", root, folder)
    return found


def fingerprint(root: Path) -> str:
    """Changes with every file below the root: its path, size and time. Links are followed, each folder is read once."""
    digest, todo, seen = hashlib.sha256(), [str(root.absolute())], set[tuple[int, int]]()
    while todo:
        folder = todo.pop()
        with suppress(OSError):
            status = os.stat(folder)  # noqa: PTH116
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                digest.update(folder_stamp(folder, todo).encode())
    return digest.hexdigest()


def folder_stamp(folder: str, subfolders: list[str] | None = None) -> str:
    """Changes with every file directly in a folder. Its subfolders are added to `subfolders`."""
    digest = hashlib.sha256(os.fsencode(folder))
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        entries = []
    for entry in entries:
        try:
            if not entry.is_dir():
                stat = entry.stat()
                digest.update(os.fsencode(f"{entry.name}\t{stat.st_size}\t{stat.st_mtime_ns}\n"))
            elif subfolders is not None and not is_left_alone(entry.name):
                subfolders.append(entry.path)
        except OSError:
            digest.update(os.fsencode(f"{entry.name}\tmissing\n"))
    return digest.hexdigest()


def code_stamp(folders: Iterable[str] = CODE) -> str:
    """Changes with the code in these folders of the project."""
    files = sorted(file for folder in folders for file in (PROJECT_ROOT / folder).glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def save(found: CheckedBoxes, file: Path, stamped: Path | None) -> None:
    """`stamped`: a folder that is known not to have changed."""
    watched = [
        place for place in found.folders if stamped is None or not is_below(f"{place}/", str(stamped.absolute()))
    ]
    arrays = {WATCHED: packed(watched), STAMPS: packed(map(folder_stamp, watched))}
    for field in fields(found):
        value = getattr(found, field.name)
        if isinstance(value, BoxFindings | Outlines):
            arrays |= {f"{field.name}.{part.name}": packed(getattr(value, part.name)) for part in fields(value)}
        elif value is not None:
            arrays[field.name] = packed(value)
    with file.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # its keyword allow_pickle is none of them


def load(file: Path) -> CheckedBoxes:
    """What `save` has written."""
    with np.load(file, allow_pickle=False) as arrays:
        found = {name: unpacked(arrays[name]) for name in arrays.files if name not in (WATCHED, STAMPS)}
    lists = {name: found[name].tolist() for name in ("class_names", "notes", "folders")}
    columns = {
        name: kind(**{part.name: found.pop(f"{name}.{part.name}") for part in fields(kind)})
        for name, kind in (("findings", BoxFindings), ("outlines", Outlines))
        if any(key.startswith(f"{name}.") for key in found)
    }
    return CheckedBoxes(**{"groups": None, **found, **lists, **columns})


def packed(values: Iterable[Any] | npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Numbers as they are; text as the bytes of a JSON list, since numpy pickles strings of any length."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "bif":
        return values
    texts = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return np.frombuffer(json.dumps(texts).encode("ascii"), dtype=np.uint8)


def unpacked(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return string_column(json.loads(values.tobytes())) if values.dtype == np.uint8 else values


def find_outdated(folder: Path) -> str:
    """What has changed where the fingerprint of the root does not look; an empty text if nothing has."""
    with np.load(folder / FILE, allow_pickle=False) as arrays:
        watched, stamps = unpacked(arrays[WATCHED]).tolist(), unpacked(arrays[STAMPS]).tolist()
    changed = [place for place, stamp in zip(watched, stamps, strict=True) if folder_stamp(place) != stamp]
    return f"{changed[0]} has changed" if changed else ""
