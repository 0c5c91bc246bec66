"""What data.yaml says: names of the classes, and where the images of each split are. Imports no torch."""

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from src.data.annotations.problems import text_of
from src.data.folders.split_names import listed, split_of
from src.data.missing import is_there
from src.files.plain_files import read_yaml
from src.settings.errors import ConfigError

NAMES = ("data.yaml", "dataset.yaml", "config.yaml", "data.yml", "dataset.yml", "config.yml")
NAME_FILES = ("classes.txt", "obj.names", "labels.txt", "labels/classes.txt")
KEYS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass
class YoloSettings:
    """`names` by class id, None = not said. `places` of each split: folders of images, or files that list them."""

    names: dict[int, str] | None = None
    places: dict[str, list[Path]] = field(default_factory=dict)
    keypoints: bool = False
    notes: list[str] = field(default_factory=list)


def find_yaml(root: Path) -> Path | None:
    """By its usual name, else the only yaml in root that names splits or classes."""
    for name in NAMES:
        if (root / name).is_file():
            return root / name
    found = [path for path in sorted(root.glob("*.y*ml")) if path.is_file() and speaks_of_data(path)]
    if len(found) > 1:
        raise ConfigError(f"data.root='{root}' has several yaml files: {listed(p.name for p in found)}. Name the one "
                          "that describes the data: data.file=<yaml>.")  # fmt: skip
    return found[0] if found else None


def speaks_of_data(path: Path) -> bool:
    lines = path.read_bytes()[:65536].decode("utf-8", "replace").splitlines()
    return any(line.split(":")[0] in ("train", "names") for line in lines)


def read_settings(root: Path, file: Path) -> YoloSettings:
    """Raises ConfigError, which names the file, where it cannot be understood or no images are found."""
    values = read_yaml(file)
    settings = YoloSettings(names_in(file, values.get("names")), keypoints="kpt_shape" in values)
    bases = bases_of(root, file, values.get("path"))
    looked = list[str]()
    for key, split in KEYS.items():
        given = values.get(key)
        wanted = [given] if isinstance(given, str) else given or []
        if not isinstance(wanted, list) or not all(isinstance(one, str) and one for one in wanted):
            raise ConfigError(f"{file}: {key}: is neither a folder nor a list of folders.")
        for text in wanted:
            place, rule = find_place(bases, text)
            if place is None:
                looked.append(f"{key}: {text}")
                continue
            settings.places.setdefault(split, []).append(place)
            if rule:
                settings.notes.append(f"{file}: {key}: {text} is read as {place} ({rule}).")
    if looked and not settings.places:
        raise ConfigError(
            f"{file} names folders that are not there: {listed(looked)}. They were looked for in "
            f"{', '.join(map(str, bases))}. Correct the file, or set data.root=<folder that they are in>."
        )
    if looked:
        settings.notes.append(f"{file} names folders that are not there, and are left out: {listed(looked)}.")
    leave_out_same(file, settings)
    return settings


def names_in(file: Path, names: Any) -> dict[int, str] | None:
    """A list, or a mapping from ids; a text is the file that lists them."""
    if names is None or names == [] or names == {}:
        return None
    if isinstance(names, str) and is_there(file.parent / names):
        return names_listed(file.parent / names)
    pairs = list(names.items() if isinstance(names, dict) else enumerate(names if isinstance(names, list) else []))
    if not pairs or any(isinstance(name, dict | list) or not str(i).strip().isdecimal() for i, name in pairs):
        raise ConfigError(f"{file}: names: is neither a list of class names nor a mapping from ids to names.")
    return {int(i): str(name).strip() for i, name in pairs}


def names_listed(file: Path) -> dict[int, str]:
    """One a line, as in classes.txt."""
    lines = text_of(file, "data.root").rstrip().splitlines()
    return {number: line.strip() or str(number) for number, line in enumerate(lines)}


def find_names(root: Path) -> tuple[dict[int, str] | None, Path | None]:
    """In a file beside the images or labels, where there is no yaml."""
    for name in (*NAME_FILES, "labels/train/classes.txt", "train/classes.txt", "train/labels/classes.txt"):
        if (root / name).is_file():
            return names_listed(root / name) or None, root / name
    return None, None


def bases_of(root: Path, file: Path, path: Any) -> list[Path]:
    """Where a folder in the yaml may start: `path`, by itself, from the yaml or from root; the yaml; root."""
    own = file.parent
    text = path.replace("\\", "/") if isinstance(path, str) else ""
    said = [Path(text).expanduser(), own / text, root / text] if text else []
    places = [place for place in said if is_there(place) and place != Path()]
    if text in ("", "."):
        places = []
    return list(dict.fromkeys([*places, own, root]))


def find_place(bases: list[Path], text: str) -> tuple[Path | None, str]:
    """The folder or list that is meant, and by which rule if not by the yaml's letter."""
    text = text.strip().replace("\\", "/")
    exact = [base / text for base in bases]
    if found := next((place for place in exact if is_there(place)), None):
        return found, "" if found == exact[0] else f"from {found.parent}"
    parts = [part for part in PurePosixPath(text).parts if part not in ("..", ".", "/")]
    for begin in range(len(parts)):
        # images alone may be any split's; train alone is what it says.
        if len(parts) - begin < 2 and len(parts) > 1 and split_of(parts[begin]) is None:
            break
        for base in bases:
            if is_there(place := base.joinpath(*parts[begin:])):
                return place, "the end of its path"
    return None, ""


def leave_out_same(file: Path, settings: YoloSettings) -> None:
    """Images of two splits would be measured after training on them: the later split is left out, and then cut."""
    seen = dict[Path, str]()
    for split in [name for name in ("train", "val", "test") if name in settings.places]:
        for place in list(settings.places[split]):
            if (first := seen.setdefault(place.resolve(), split)) != split:
                settings.places[split].remove(place)
                settings.notes.append(f"{file}: {split} is the folder of {first}, so it is no {split} split: {place}.")
        if not settings.places[split]:
            del settings.places[split]
