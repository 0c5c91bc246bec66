"""What an entry of the cache has to hold: the size and the checksums of each file, written last and compared later."""

import json
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from src.cli.progress import progress_bar
from src.data.cache.room import MANIFEST

FORMAT = 1  # another number makes all entries anew
CHUNK_BYTES = 16 * 2**20  # of one checksum
SHOWN_BYTES = 2e9  # from which on reading has a progress bar

# Entries whose contents this process has compared, with their manifests and the times of their files.
_read_in_full: dict[Path, list[str]] = {}


def write_manifest(folder: Path) -> None:
    files = sorted(folder.iterdir())
    facts = {
        file.name: {"size": file.stat().st_size, "crc32": sums}
        for file, sums in zip(files, checksums(files), strict=True)
    }
    (folder / MANIFEST).write_text(json.dumps({"format": FORMAT, "files": facts}), encoding="utf-8")


def find_damage(folder: Path, read_all: bool) -> str:
    """What is wrong with an entry, in words; an empty text if nothing is.

    Sizes are always compared: beyond its end, a file that is mapped into memory would end the process. Contents
    (`read_all`) are compared once in each process, at about 1 GB/s and core.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        manifest = json.loads(text)
        if manifest["format"] != FORMAT:
            return "another version of this program has made it"
        files = {Path(name).name: (int(fact["size"]), fact["crc32"]) for name, fact in manifest["files"].items()}
    except OSError:
        return f"{MANIFEST} is missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is damaged"
    state = [text]
    for name, (size, _) in files.items():
        try:
            found = (folder / name).stat()
        except OSError:
            return f"{name} is missing"
        if found.st_size != size:
            return f"{name} has {found.st_size:,} bytes instead of {size:,}"
        state.append(str(found.st_mtime_ns))
    if read_all and _read_in_full.get(folder) != state:
        try:
            sums = checksums([folder / name for name in files])
        except OSError as error:
            return f"it cannot be read ({error.strerror})"
        for (name, (_, expected)), actual in zip(files.items(), sums, strict=True):
            if expected != actual:
                return f"the contents of {name} have changed"
        _read_in_full[folder] = state
    return ""


def checksums(files: list[Path]) -> list[list[int]]:
    """CRC-32 of each part of CHUNK_BYTES, file by file. It finds damage, not forgery."""
    sizes = [file.stat().st_size for file in files]
    parts = [(file, start) for file, size in zip(files, sizes, strict=True) for start in range(0, size, CHUNK_BYTES)]
    is_long = sum(sizes) > SHOWN_BYTES
    found = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, progress_bar() as progress:
        bar = progress.add_task("check the cache", total=len(parts), visible=is_long, speed="", loss="")
        for one in pool.map(_checksum, parts):
            found.append(one)
            progress.update(bar, advance=1)
    remaining = iter(found)
    return [[next(remaining) for _ in range(0, size, CHUNK_BYTES)] for size in sizes]


def _checksum(part: tuple[Path, int]) -> int:
    file, start = part
    with file.open("rb") as stream:
        stream.seek(start)
        return zlib.crc32(stream.read(CHUNK_BYTES))
