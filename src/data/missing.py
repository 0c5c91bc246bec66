"""Where an image that a table names was looked for, and where it is instead. Imports no torch."""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from src.data.decode import IMAGE_SUFFIXES
from src.data.folders.split_names import same_text
from src.settings.errors import ConfigError
from src.settings.plurals import number_of

SAMPLE = 256  # paths of a table that are tried before the first step
MOST = 0.5  # share of missing ones from which it is not worth to begin
SEARCHED = 20_000  # folders and files below data.root that are looked at for a name
PARENTS = 3  # folders above data.root from which paths are tried


def require_found(root: Path, paths: Sequence[str], setting: str, root_setting: str) -> str:
    """Try some of a table's paths. Raises ConfigError if most are missing, with the way out; else a note about some.

    Relative paths start from `root`, which `root_setting` names (data.root or root); `setting` names the table.
    """
    places = np.unique(np.linspace(0, max(len(paths) - 1, 0), min(len(paths), SAMPLE), dtype=int))
    tried = [str(paths[place]) for place in places]
    missing = [path for path in tried if not is_there(root / path)]
    if not missing:
        return ""
    count, are = f"{len(missing)} of {number_of(len(tried), 'image')}", "is" if len(missing) == 1 else "are"
    which = " that were tried" if len(tried) < len(paths) else ""
    text = (
        f"{setting}: {count}{which} {are} missing, e.g. '{missing[0]}': {where_it_is(root, missing[0], root_setting)}"
    )
    if len(missing) > MOST * len(tried):
        raise ConfigError(text)
    return text


def is_there(path: Path) -> bool:
    """False also for a name that is too long or has a byte of zero, for which Path.exists raises."""
    return os.path.exists(path)  # noqa: PTH110


def where_it_is(root: Path, path: str, root_setting: str = "data.root") -> str:
    """Where a missing image was looked for and what fits, as a sentence or two."""
    looked = f"there is no {root / path}."
    for find in (broken_link, with_slashes, with_suffix, with_other_letters, without_first_folders, in_other_folder):
        if fit := find(root, path, root_setting):
            return f"{looked} {fit}"
    if not root.is_dir():
        return f"{looked} There is no folder {root} either: set {root_setting}=<folder that the paths start from>."
    return f"{looked} Set {root_setting}=<folder that the paths start from>; it is {root} now."


def broken_link(root: Path, path: str, root_setting: str) -> str:
    try:
        return f"It is a link to {(root / path).readlink()}, which is not there."
    except (OSError, ValueError):
        return ""


def with_slashes(root: Path, path: str, root_setting: str) -> str:
    fitting = path.replace("\\", "/")
    return f"With / instead of \\ it is there: {fitting}." if fitting != path and is_there(root / fitting) else ""


def with_suffix(root: Path, path: str, root_setting: str) -> str:
    """A file of the same name with another or any suffix."""
    place = root / path
    stems = {place.name, place.stem if place.suffix.lower() in IMAGE_SUFFIXES else place.name}
    for name in names_in(place.parent):
        if Path(name).stem in stems and Path(name).suffix.lower() in IMAGE_SUFFIXES:
            return f"There is {place.parent / name}: write the paths with the extension that the files have."
    return ""


def with_other_letters(root: Path, path: str, root_setting: str) -> str:
    """A file of the same name but for capital letters or the Unicode spelling."""
    anchor = Path(path).anchor
    place = Path(anchor) if anchor else root
    for part in Path(path).parts[1 if anchor else 0 :]:
        names = names_in(place)
        same = [name for name in names if same_text(name).casefold() == same_text(part).casefold()]
        if not same:
            return ""
        place = place / (part if part in same else same[0])
    return f"There is {place}, which differs in capital letters or in how Unicode writes it: write it so."


def without_first_folders(root: Path, path: str, root_setting: str) -> str:
    """A file below root, or in a folder above it, whose path is the end or the beginning of this one."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    if not Path(path).is_absolute():
        for parent in list(root.absolute().parents)[:PARENTS]:
            if is_there(parent / path):
                return f"It is in {parent}: set {root_setting}='{parent}'."
    for begin in range(1, len(parts)):
        end = "/".join(parts[begin:])
        if is_there(root / end):
            cut = path[: len(path) - len(end)]
            return f"There is {root / end}: take '{cut}' off the paths in the table."
    return ""


def in_other_folder(root: Path, path: str, root_setting: str) -> str:
    """A file of the same base name somewhere below root."""
    name = PurePosixPath(path.replace("\\", "/")).name
    stem_of_suffix = Path(name).suffix.lower() not in IMAGE_SUFFIXES
    for found in islice(files_below(root), SEARCHED):
        if found.name == name or (stem_of_suffix and found.stem == name and found.suffix.lower() in IMAGE_SUFFIXES):
            if found.as_posix().endswith("/" + path):
                return f"There is {found}: set {root_setting}='{found.as_posix()[: -len(path) - 1]}'."
            if "/" not in path:
                return f"There is {found}: set {root_setting}='{found.parent}', and write the extension too."
            return f"There is {found}: write the paths as they are below {root}."
    return ""


def files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names))


def names_in(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208
    except (OSError, ValueError):
        return []
