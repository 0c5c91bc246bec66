"""Files that are there whole or not at all: what stood in their place stays until they are complete. No torch."""

import json
import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

log = logging.getLogger(__name__)


@contextmanager
def replaced(file: Path, writer: str = "") -> Iterator[Path]:
    """A hidden name beside `file`, with its ending, to write to: it takes the place of `file` if the block ends well.

    Else it is removed. An OSError of a full or broken disk gets the name of `file`. Of a link, the target is replaced.
    `writer` is in the hidden name, and tells processes apart that may write the same file at one moment.
    """
    place = Path(os.path.realpath(file))
    part = place.with_name(f".{place.stem}{writer and f'.{writer}'}.part{place.suffix}")
    try:
        with named_errors(file):
            yield part
            part.replace(place)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Written whole or not at all; not-a-number becomes null, which json can say."""
    clean = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in values.items()}
    with replaced(path) as part:
        part.write_text(json.dumps(clean, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def named_errors(file: Path) -> Iterator[None]:
    """OSErrors without a name, as those of a full disk, or with that of an unfinished file are about `file`."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and ".part" not in str(error.filename):
            raise
        raise OSError(error.errno, error.strerror or str(error), str(file)) from error


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """The folder is there; if the block fails, it goes again if it was not there before and nothing is in it."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with suppress(OSError):
            for path in new:
                path.rmdir()
        raise


def part_of(file: Path) -> Path:
    """Where a `GrowingFile` grows: on the same disk as `file`, so beside the target of a link."""
    place = Path(os.path.realpath(file))
    return place.with_name(f"{place.name}.part")


class GrowingFile:
    """Text that others can read as it grows, in `<file>.part`, which takes the place of `file` if the block ends well.

    If it does not, `<file>.part` stays with what `keep` had seen, which the log says; or it goes if that is nothing.
    Errors of the disk get the name of `file`.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.part, self.kept_bytes = file, part_of(file), 0

    def __enter__(self) -> "GrowingFile":
        with named_errors(self.file):  # backslashreplace: of names that are not UTF-8
            self.stream = self.part.open("w", newline="", encoding="utf-8", errors="backslashreplace")
        return self

    def write(self, text: str) -> int:
        with named_errors(self.file):
            return self.stream.write(text)

    def keep(self) -> None:
        """What was written so far is worth being kept, and goes to the disk."""
        with named_errors(self.file):
            self.stream.flush()
            self.kept_bytes = self.part.stat().st_size

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            with named_errors(self.file):
                self.stream.close()
                if kind is None:
                    self.part.replace(os.path.realpath(self.file))
        except OSError:
            self.leave()
            if kind is None:
                raise
        else:
            if kind is not None:
                self.leave()

    def leave(self) -> None:
        with suppress(OSError):
            if not self.kept_bytes:
                self.part.unlink()
                return
            os.truncate(self.part, self.kept_bytes)  # half a row may have been written
            log.warning("Not complete: what was written so far is in %s", self.part)
