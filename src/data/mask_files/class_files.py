"""Files that name the values or colours of masks, as people and tools write them. Imports no torch."""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from src.data.annotations.problems import text_of
from src.data.folders.split_names import listed
from src.data.mask_files.class_table import ClassTable
from src.data.mask_files.codes import code_of_color
from src.data.tables.table_file import open_table
from src.files.plain_files import read_yaml
from src.settings.errors import ConfigError

# Looked for in data.root, then beside the masks: of CVAT, CamVid, Kaggle and Roboflow, and a yaml of one's own.
USUAL_NAMES = ("labelmap.txt", "label_colors.txt", "class_dict.csv", "_classes.csv", "classes.yaml", "classes.yml")
SECTIONS = ("classes", "names", "labels")  # of a yaml, where the classes are not all that it has
LARGEST_VALUE = 2**31 - 1
Entry = tuple[int, str]
# Lines of text files: CVAT's name:r,g,b:parts:actions, CamVid's r g b name, and a value with its name.
CVAT = re.compile(r"(?P<name>.+?):(?P<r>\d+),(?P<g>\d+),(?P<b>\d+)(:.*)?")
CAMVID = re.compile(r"(?P<r>\d+)[\s,]+(?P<g>\d+)[\s,]+(?P<b>\d+)[\s,]+(?P<name>\D.*)")
VALUE = re.compile(r"(?P<value>\d+)\s*[:=,\s]\s*(?P<name>.+)")
EXAMPLES = "road:128,64,128:: (CVAT), 128 64 128 road (CamVid), 7 road"


def find_class_file(root: Path, masks: Iterable[str] = ()) -> Path | None:
    """In root, else in the folders of these masks (paths below root) and those between. Raises ConfigError if there are
    several, of which nobody says which one is meant.
    """
    found = tables_in(root) or [file for folder in mask_folders(root, masks) for file in tables_in(folder)]
    if len(found) > 1:
        raise ConfigError(
            f"data.root='{root}' has several tables of classes: {listed(os.path.relpath(one, root) for one in found)}. "
            f"Name one: data.classes='{found[0]}'."
        )
    return found[0] if found else None


def tables_in(folder: Path) -> list[Path]:
    return [folder / name for name in USUAL_NAMES if (folder / name).is_file()]


def mask_folders(root: Path, masks: Iterable[str]) -> list[Path]:
    """Those of the masks, and the ones above them up to root, or to where masks outside of root have parted from it."""
    found = set[str]()
    for folder in {os.path.dirname(mask) for mask in masks}:  # noqa: PTH120
        while folder and os.path.basename(folder) != ".." and folder not in found:  # noqa: PTH119
            found.add(folder)
            folder = "" if os.path.isabs(folder) else os.path.dirname(folder)  # noqa: PTH117, PTH120
    return [root / folder for folder in sorted(found)]


def read_class_file(file: Path) -> ClassTable:
    """Raises ConfigError, which names the file and says what it may be."""
    if not file.is_file():
        raise ConfigError(f"data.classes='{file}' {'is a folder' if file.is_dir() else 'does not exist'}.")
    readers: dict[str, Callable[[Path], list[Entry]]] = {
        ".yaml": yaml_entries, ".yml": yaml_entries, ".csv": csv_entries, ".txt": text_entries,
    }  # fmt: skip
    if (reader := readers.get(file.suffix.lower())) is None:
        raise ConfigError(f"data.classes='{file}' is none of {', '.join(readers)}.")
    return ClassTable.of(file, reader(file))


def text_entries(file: Path) -> list[Entry]:
    """A line per class, all of one kind; # begins a comment. Lines of names alone count from 0."""
    every = enumerate(text_of(file, "data.classes").splitlines(), start=1)
    lines = [(number, line.strip()) for number, line in every if line.strip() and not line.lstrip().startswith("#")]
    for pattern in (CVAT, CAMVID, VALUE):
        matches = [(number, line, pattern.fullmatch(line)) for number, line in lines]
        if any(match for *_, match in matches):
            if wrong := next(((number, line) for number, line, match in matches if match is None), None):
                raise ConfigError(
                    f"data.classes='{file}': line {wrong[0]} is not like the others: '{wrong[1]}'. Lines are, for "
                    f"example, {EXAMPLES}."
                )
            where = f"data.classes='{file}'"
            return [(code_in(where, match.groupdict()), match["name"].strip()) for *_, match in matches if match]
    return [(value, line) for value, (_, line) in enumerate(lines)]


def code_in(where: str, cells: dict[str, str]) -> int:
    if "value" in cells:
        return checked_value(where, int(cells["value"]))
    return checked_color(where, [int(cells[letter]) for letter in "rgb"])


def checked_value(where: str, value: int) -> int:
    if not 0 <= value <= LARGEST_VALUE:
        raise ConfigError(f"{where}: {value} is no value of a mask. Allowed: 0 to {LARGEST_VALUE}.")
    return value


def checked_color(where: str, channels: list[int]) -> int:
    if len(channels) != 3 or not all(0 <= channel <= 255 for channel in channels):
        raise ConfigError(f"{where}: {channels} is no colour. Allowed: three numbers of 0 to 255.")
    red, green, blue = channels
    return code_of_color(red, green, blue)


def csv_entries(file: Path) -> list[Entry]:
    """A row per class: name, r, g, b (Kaggle), or its value and its name (Roboflow: Pixel Value, Class)."""
    where = f"data.classes='{file}'"
    with open_table(file, "data.classes") as table:
        place = {name.casefold(): index for index, name in enumerate(table.columns)}
        rows = [[str(cell).strip() for cell in row] for chunk in table.chunks for row in chunk.rows]
    name = next((place[one] for one in ("name", "class", "label") if one in place), None)
    value = next((place[one] for one in ("pixel value", "value", "id") if one in place), None)
    colors = [place[one] for one in ("r", "g", "b") if one in place]
    if name is None or (len(colors) != 3 and value is None):
        raise ConfigError(f"{where} needs the columns name, r, g, b or value, name, not {', '.join(table.columns)}.")
    try:
        if len(colors) == 3:
            return [(checked_color(where, [int(row[c]) for c in colors]), row[name]) for row in rows]
        return [(checked_value(where, int(row[value or 0])), row[name]) for row in rows]
    except ValueError as error:
        raise ConfigError(f"{where} has a cell that is no whole number ({error}).") from error


def yaml_entries(file: Path) -> list[Entry]:
    """name: [r, g, b], name: value or value: name, also below `classes`; or a list of names, which counts from 0."""
    values: dict[str, Any] = read_yaml(file)
    classes = next((values[key] for key in SECTIONS if isinstance(values.get(key), dict | list)), values)
    where = f"data.classes='{file}'"
    if isinstance(classes, list):
        if not all(isinstance(name, str | int) for name in classes):
            raise ConfigError(f"{where}: a list has to be one of names.")
        return [(value, str(name)) for value, name in enumerate(classes)]
    by_value = all(is_value(key) for key in classes) and any(isinstance(name, str) for name in classes.values())
    entries = []
    for key, value in classes.items():
        if by_value and isinstance(value, str | int):
            entries.append((checked_value(where, int(key)), str(value)))
        elif isinstance(value, int) and not isinstance(value, bool):
            entries.append((checked_value(where, value), key))
        elif isinstance(value, list) and all(isinstance(one, int) for one in value):
            entries.append((checked_color(where, value), key))
        elif isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value):
            entries.append((checked_color(where, list(bytes.fromhex(value[1:]))), key))
        else:
            raise ConfigError(
                f"{where}: '{key}: {value}' is neither <name>: <value>, <name>: [r, g, b], <name>: '#rrggbb' nor "
                "<value>: <name>."
            )
    return entries


def is_value(text: str) -> bool:
    return text.isascii() and text.isdecimal()
