"""What the values or colours of masks are called. Imports no torch."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from src.data.folders.split_names import listed, same_text
from src.data.mask_files.codes import COLOR, code_of_color, is_color, text_of
from src.settings.errors import ConfigError

# What tables call pixels that nobody labelled. "background" and "other" are classes.
VOID_NAMES = re.compile(
    r"(void|ignored?|ignore label|un ?label?led|un ?annotated|not label?led|don'?t care|no ?data)"
    r"( (pixels?|area|class))?"
)


@dataclass(frozen=True)
class ClassTable:
    """`names` by code (src/data/mask_files/codes.py), in the order of the `file`. Several codes may have one name."""

    file: Path
    names: dict[int, str]

    @classmethod
    def of(cls, file: Path, entries: list[tuple[int, str]]) -> "ClassTable":
        """Raises ConfigError if nothing is there, a name is empty, or a code has two names."""
        names = dict[int, str]()
        for code, name in entries:
            name = " ".join(same_text(name).split())
            if not name:
                raise ConfigError(f"data.classes='{file}': {text_of(code)} has no name.")
            if names.setdefault(code, name) != name:
                raise ConfigError(
                    f"data.classes='{file}': {text_of(code)} is called both '{names[code]}' and '{name}'. Keep one."
                )
        if not names:
            raise ConfigError(f"data.classes='{file}' names no class.")
        kinds = {is_color(code) for code in names}
        if len(kinds) > 1:
            raise ConfigError(f"data.classes='{file}' has both values and colours: {listed(map(text_of, names))}.")
        return cls(file, names)

    @property
    def colors(self) -> frozenset[int]:
        return frozenset(code for code in self.names if is_color(code))

    def named(self, codes: Iterable[int]) -> dict[int, str]:
        """Those of the codes that have a name, with it.

        In a table of colours alone, values are greys if each is the grey of one of its colours (0 and 255), else places
        in the table, from 0, as tools write masks with indices beside a table of colours.
        """
        codes = list(codes)
        found = {code: self.names[code] for code in codes if code in self.names}
        if not self.colors:
            return found
        values = [code for code in codes if 0 <= code < COLOR]
        greys = {value: self.names.get(code_of_color(value, value, value)) for value in values if value <= 255}
        if len(greys) == len(values) and all(greys.values()):
            return found | {value: name for value, name in greys.items() if name}
        in_order = list(dict.fromkeys(self.names.values()))
        return found | {value: in_order[value] for value in values if value < len(in_order)}


def is_void(name: str) -> bool:
    """Whether a table's name says that nobody knows what there is."""
    return VOID_NAMES.fullmatch(re.sub(r"[\s_-]+", " ", name.casefold()).strip()) is not None
