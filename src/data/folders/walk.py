"""What lies below a folder, and its images by the one walk for training, predictions and exports. Imports no torch.

Links are followed, every folder is read once, hidden folders and those of operating systems are not read. What is left
out is counted and can be said.
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from src.data.decode import IMAGE_SUFFIXES
from src.files.printable import printable

# Made by macOS, Windows, Synology's file station, Linux and Python, and full of copies and thumbnails.
SYSTEM_FOLDERS = frozenset(
    ["__macosx", "__pycache__", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found"]
)
WORDS = {
    "hidden": "hidden folders and folders of the operating system are left out",
    "circle": "links lead back to a folder that they lie in, and are not followed",
    "twice": "links lead to a folder that is read already, and are not followed",
    "broken": "links lead nowhere",
    "special": "entries are neither files nor folders, and are left out",
    "closed": "folders cannot be read, and are left out",
}
MAX_DEPTH = 12  # of folders in which an image is looked for


@dataclass
class LeftOut:
    """What a walk did not read: `paths` by kind, as in WORDS, and how many `other_files` there are of each suffix."""

    paths: dict[str, list[str]] = field(default_factory=dict)
    other_files: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, path: str | Path) -> None:
        self.paths.setdefault(kind, []).append(str(path))

    def merge(self, other: "LeftOut") -> None:
        for kind, paths in other.paths.items():
            self.paths.setdefault(kind, []).extend(paths)
        self.other_files.update(other.other_files)

    def notes(self) -> list[str]:
        """A sentence for each kind but for other files."""
        return [
            f"{len(self.paths[kind])} {what}: {printable(', '.join(self.paths[kind][:3]))}"
            + (", ..." if len(self.paths[kind]) > 3 else ".")
            for kind, what in WORDS.items()
            if kind in self.paths
        ]


def is_left_alone(name: str) -> bool:
    """Whether a folder of this name is not read: hidden, or made by an operating system."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def is_image(name: str) -> bool:
    """By the file's name alone."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def kind_of(entry: "os.DirEntry[str]") -> str:
    """What an entry is, links followed: folder, file, broken (a link to nothing) or special (a pipe, a device)."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError:  # links that lead to each other
        pass
    return "broken" if entry.is_symlink() and not os.path.exists(entry.path) else "special"  # noqa: PTH110


def leads_back(link: str | Path) -> bool:
    """Whether a link leads to a folder that it lies in, however deep."""
    target = Path(os.path.realpath(link))
    parents = (Path(os.path.realpath(Path(link).parent)), Path(link).absolute().parent)
    return any(target == parent or target in parent.parents for parent in parents)


def walk(folder: Path) -> tuple[list[str], LeftOut]:
    """Paths of the images below a folder, relative to it, with / between the parts, and what is left out.

    The files of each folder come before its subfolders, both sorted by name. A link to an image that is not there is
    among them, since a missing image should be noticed.
    """
    images, left_out, seen = list[str](), LeftOut(), set[tuple[int, int]]()
    todo, links = [""], list[str]()
    while todo or links:
        linked = not todo
        place = links.pop() if linked else todo.pop()  # real folders first: a link never takes one's place
        where = folder / place
        try:
            status = where.stat()
            if (status.st_dev, status.st_ino) in seen:
                left_out.add("twice", where)
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(where), key=lambda entry: entry.name, reverse=True)
        except OSError:
            left_out.add("closed", where)
            continue
        for entry in entries:
            path = f"{place}/{entry.name}" if place else entry.name
            kind = kind_of(entry)
            if kind == "folder":
                if is_left_alone(entry.name):
                    left_out.add("hidden", entry.path)
                elif not entry.is_symlink():
                    todo.append(path)
                elif leads_back(entry.path):
                    left_out.add("circle", entry.path)
                else:
                    links.append(path)
            elif kind == "special":
                left_out.add("special", entry.path)
            else:
                if kind == "broken":
                    left_out.add("broken", entry.path)
                if is_image(entry.name):
                    images.append(path)
                else:
                    left_out.other_files[os.path.splitext(entry.name)[1].lower() or entry.name] += 1  # noqa: PTH122
    return sorted(images, key=files_first), left_out


def files_first(path: str) -> tuple[tuple[bool, str], ...]:
    *folders, name = path.split("/")
    return (*((True, part) for part in folders), (False, name))


class Folder:
    """What lies directly in a folder, looked at when it is asked for."""

    def __init__(self, path: Path, depth: int = 0) -> None:
        self.path, self.name, self.depth = path, path.name, depth

    @cached_property
    def has_images(self) -> bool:
        """Whether an image lies directly in it. Stops at the first one."""
        try:
            with os.scandir(self.path) as entries:
                return any(is_image(entry.name) and kind_of(entry) != "folder" for entry in entries)
        except OSError:
            return False

    @cached_property
    def subfolders(self) -> list["Folder"]:
        """Sorted, without hidden ones, those of operating systems, and links that lead back."""
        try:
            with os.scandir(self.path) as entries:
                names = sorted(entry.name for entry in entries if kind_of(entry) == "folder")
        except OSError:
            return []
        paths = [self.path / name for name in names if not is_left_alone(name)]
        return [Folder(path, self.depth + 1) for path in paths if not (path.is_symlink() and leads_back(path))]

    @cached_property
    def holds_images(self) -> bool:
        """Whether there is an image in it or below."""
        return self.has_images or (self.depth < MAX_DEPTH and any(folder.holds_images for folder in self.subfolders))

    @cached_property
    def children(self) -> list["Folder"]:
        """The subfolders with images in them or below."""
        return [folder for folder in self.subfolders if folder.holds_images]
