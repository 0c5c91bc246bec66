"""What is wrong in files of annotations, counted by kind, with the first places of each. Imports no torch."""

from collections import Counter
from pathlib import Path

from src.files.printable import printable
from src.settings.errors import ConfigError
from src.settings.plurals import agreeing

SHOWN = 3  # places of each kind in a message
LISTED = 10_000  # places of each kind that are kept
POINTER = b"version https://git-lfs"


class Problems:
    """Collects what a reader of annotations leaves out; `setting` names the data, as in `data.root='x'`."""

    def __init__(self, setting: str, on_error: str) -> None:
        self.setting, self.on_error = setting, on_error
        self.counts = Counter[str]()
        self.places: dict[str, list[str]] = {}

    def add(self, kind: str, place: str, count: int = 1) -> None:
        """`kind` says what is left out, as `agreeing` takes it; `place` where one of them stands."""
        self.counts[kind] += count
        places = self.places.setdefault(kind, [])
        if len(places) < LISTED:
            places.append(place)

    def found(self) -> list[tuple[str, str]]:
        """What is left out, and where it stands: for each of the places that are kept."""
        kinds = {kind: self.said(kind) for kind in self.places}
        return [(kinds[kind], place) for kind, places in self.places.items() for place in places]

    def said(self, kind: str) -> str:
        """The same in the notes and in what is found, by which the check leaves these notes out."""
        return agreeing(self.counts[kind], kind)

    def notes(self) -> list[str]:
        """A line for each kind. Raises ConfigError with all of them if there are any, and on_error is fail."""
        lines = [
            f"{count:,} {self.said(kind)}: {printable('; '.join(self.places[kind][:SHOWN]))}"
            + ("; ..." if count > SHOWN else "")
            for kind, count in self.counts.items()
        ]
        if lines and self.on_error == "fail":
            raise ConfigError(
                f"{self.setting} has mistakes in its annotations (data.on_error=fail):\n  " + "\n  ".join(lines) + "\n"
                "Correct them, or set data.on_error=skip to go on without them."
            )
        return lines


def text_of(file: Path, setting: str) -> str:
    """A text file in UTF-8 or, with its mark, UTF-16. Raises ConfigError, which names it and says what to do."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: {file} cannot be read: {error.strerror or error}.") from error
    if content.startswith(POINTER):
        raise ConfigError(f"{setting}: {file} is a pointer of Git LFS and not the file itself: run git lfs pull.")
    try:
        return decoded(content)
    except UnicodeError as error:
        raise ConfigError(f"{setting}: {file} is no text in UTF-8 ({error}). Save it as UTF-8.") from error


def decoded(content: bytes) -> str:
    """By the mark at its beginning, else UTF-8. Raises UnicodeError."""
    utf_16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    return content.decode("utf-16" if utf_16 else "utf-8-sig")
