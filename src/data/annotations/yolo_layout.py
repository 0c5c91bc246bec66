"""Which images YOLO's folders hold, of which split, and where the label file of each is. Imports no torch."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from src.data.annotations.problems import text_of
from src.data.folders.split_names import folders_by_split, listed
from src.data.folders.walk import walk
from src.settings.plurals import number_of

BESIDE = frozenset(["classes.txt", "labels.txt", "train.txt", "val.txt", "valid.txt", "test.txt", "notes.txt"])


@dataclass
class YoloImages:
    """`files`: (path, split) of each image; links are not followed, since labels are found by it."""

    files: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def images_in(places: dict[str, list[Path]]) -> YoloImages:
    """Of folders, with their subfolders, and of files that list images, by split; each image once."""
    found, seen = YoloImages(), dict[str, str]()
    for split, paths in places.items():
        files = [file for path in paths for file in (walked(path, found) if path.is_dir() else images_listed(path))]
        twice = [file for file in files if seen.setdefault(file, split) != split]
        if twice:
            found.notes.append(
                f"{number_of(len(twice), 'image')} of {split} in another split too: left out: {listed(twice)}."
            )
        found.files += [(file, split) for file in dict.fromkeys(files) if seen[file] == split]
    return found


def walked(folder: Path, found: YoloImages) -> list[str]:
    paths, left_out = walk(folder)
    found.notes += left_out.notes()
    return [f"{folder}/{path}" for path in paths]


def images_listed(file: Path) -> list[str]:
    """A path a line, from the folder of the list. Raises ConfigError if it cannot be read."""
    lines = (line.strip().replace("\\", "/") for line in text_of(file, "data.root").splitlines())
    return [os.path.normpath(f"{file.parent}/{line}" if line[0] != "/" else line) for line in lines if line]


def images_below(root: Path) -> YoloImages:
    """All below root, where nothing says the splits but names of folders, at the first level that has some."""
    paths, left_out = walk(root)
    found = YoloImages(notes=left_out.notes())
    folders = {path: tuple(path.split("/")[:-1]) for path in paths}
    for level in range(max(map(len, folders.values()), default=0)):
        names = folders_by_split(sorted({parts[level] for parts in folders.values() if len(parts) > level}))
        split_of_name = {name: split for split, of_split in names.items() for name in of_split}
        if not split_of_name:
            continue
        splits = {
            path: split_of_name.get(parts[level], "") if len(parts) > level else "" for path, parts in folders.items()
        }
        if without := [path for path in paths if not splits[path]]:
            which = number_of(len(without), "image lies", "images lie")
            found.notes.append(f"{which} in no folder of a split: left out: {listed(without)}.")
        found.files = [(f"{root}/{path}", split) for path, split in splits.items() if split]
        return found
    found.files = [(f"{root}/{path}", "") for path in paths]
    return found


class LabelFolders:
    """Where the label files of the images in a folder are: the first of YOLO's places that has some for them."""

    def __init__(self) -> None:
        self.of_folder: dict[str, str] = {}
        self.names: dict[str, set[str]] = {}  # of label files, by folder
        self.used: dict[str, set[str]] = {}

    def learn(self, images: Iterable[str]) -> None:
        """Look at all images once."""
        stems: dict[str, set[str]] = {}
        for image in images:
            folder, name = os.path.split(image)
            stems.setdefault(folder, set()).add(os.path.splitext(name)[0] + ".txt")  # noqa: PTH122
        for folder, wanted in stems.items():
            places = self.places(folder)
            fits = (place for place in places if not wanted.isdisjoint(self.listing(place)))
            place = self.of_folder[folder] = next(fits, places[0])
            self.used.setdefault(place, set()).update(wanted)

    def places(self, folder: str) -> list[str]:
        """`labels` for the last `images` in the path; beside the images; `labels` in their folder, or beside it."""
        head, images, tail = f"{folder}/".rpartition("/images/")
        replaced = [f"{head}/labels/{tail}"] if images else []
        above, name = os.path.split(folder)
        return [os.path.normpath(place) for place in (*replaced, folder, f"{folder}/labels", f"{above}/labels/{name}")]

    def listing(self, folder: str) -> set[str]:
        if folder not in self.names:
            try:
                with os.scandir(folder) as entries:
                    self.names[folder] = {entry.name for entry in entries if entry.name.endswith(".txt")}
            except OSError:
                self.names[folder] = set()
        return self.names[folder]

    def file_of(self, image: str) -> str | None:
        """None if there is no label file."""
        folder, name = os.path.split(image)
        name = os.path.splitext(name)[0] + ".txt"  # noqa: PTH122
        place = self.of_folder[folder]
        return f"{place}/{name}" if name in self.names[place] else None

    def without_image(self) -> list[str]:
        """Label files that no image has."""
        return sorted(
            f"{place}/{name}" for place, wanted in self.used.items() for name in self.names[place] - wanted - BESIDE
        )
