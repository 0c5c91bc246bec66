"""Scanned masks are kept on disk, so that their values are there at once the next time: plain arrays, without pickle.

The entry is named by all that it depends on: the pairs, sizes and times of their files, settings and code.
"""

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np

from src.data.annotations.kept import code_stamp, packed, unpacked
from src.data.cache.entries import entry_name, open_entry
from src.data.cache.plan import CachePlan
from src.data.mask_files.findings import MaskFindings
from src.data.mask_files.pairs import Pairs
from src.data.mask_files.scanned import ScannedMasks

log = logging.getLogger(__name__)

FILE = "masks.npz"
CODE = ("src/data/mask_files", "src/data/annotations")


def kept_masks(
    cache: CachePlan, root: Path, pairs: Pairs, settings: str, scan: Callable[[], ScannedMasks]
) -> ScannedMasks:
    """What `scan` gives, from the cache if it has it; kept there otherwise. With data.cache=none nothing is kept."""
    if cache.kind == "none":
        return scan()
    folder = cache.folder / entry_name("masks", code_stamp(CODE), str(root.absolute()), settings, stamp_of(root, pairs))
    fresh: list[ScannedMasks] = []

    def fill(temporary: Path) -> None:
        fresh.append(scan())
        save(fresh[0], temporary / FILE)

    with open_entry(folder, fill, cache.most_gb):
        if fresh:
            return fresh[0]
        found = load(folder / FILE)
    log.info("Values of the masks are taken from %s", folder)
    return found


def stamp_of(root: Path, pairs: Pairs) -> str:
    """Changes with the pairs, and with size or time of one of their files."""
    digest = hashlib.sha256(repr([pairs.splits, pairs.groups, pairs.missing, pairs.orphans, pairs.notes]).encode())
    for paths in (pairs.images, pairs.masks):
        for path in paths:
            try:
                stat = os.stat(root / path)  # noqa: PTH116
                stamp = f"{stat.st_size}\t{stat.st_mtime_ns}"
            except OSError:
                stamp = "missing"
            digest.update(os.fsencode(f"{path}\t{stamp}\n"))
    return digest.hexdigest()


def save(found: ScannedMasks, file: Path) -> None:
    arrays = {f"findings.{part.name}": packed(getattr(found.findings, part.name)) for part in fields(MaskFindings)}
    for field in fields(found):
        if field.name != "findings" and (value := getattr(found, field.name)) is not None:
            arrays[field.name] = packed(value)
    with file.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # its keyword allow_pickle is none of them


def load(file: Path) -> ScannedMasks:
    """What `save` has written."""
    with np.load(file, allow_pickle=False) as arrays:
        found = {name: unpacked(arrays[name]) for name in arrays.files}
    findings = MaskFindings(**{part.name: found.pop(f"findings.{part.name}") for part in fields(MaskFindings)})
    return ScannedMasks(**{"groups": None, **found, "notes": found["notes"].tolist(), "findings": findings})
