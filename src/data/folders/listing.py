"""What lies in a folder, looked at when it is asked for, as far as it is asked for. Imports no torch."""

import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from src.data.folders.walk import is_image, is_left_alone, leads_back

MAX_DEPTH = 12  # of folders in which an image is looked for
SHOWN = 5  # names in a message


class Folder:
    """What lies directly in a folder, looked at when it is asked for."""

    def __init__(self, path: Path, depth: int = 0) -> None:
        self.path, self.name, self.depth = path, path.name, depth

    @cached_property
    def has_images(self) -> bool:
        """Whether an image lies directly in it. Stops at the first one."""
        try:
            with os.scandir(self.path) as entries:
                return any(is_image(entry.name) and not is_folder(entry) for entry in entries)
        except OSError:
            return False

    @cached_property
    def subfolders(self) -> list["Folder"]:
        """Sorted, without hidden ones, those of operating systems, and links that lead back."""
        try:
            with os.scandir(self.path) as entries:
                names = sorted(entry.name for entry in entries if is_folder(entry) and not is_left_alone(entry.name))
        except OSError:
            return []
        return [Folder(self.path / name, self.depth + 1) for name in names if not circles(self.path / name)]

    @cached_property
    def holds_images(self) -> bool:
        """Whether there is an image in it or below."""
        return self.has_images or (self.depth < MAX_DEPTH and any(folder.holds_images for folder in self.subfolders))

    @cached_property
    def children(self) -> list["Folder"]:
        """The subfolders with images in them or below."""
        return [folder for folder in self.subfolders if folder.holds_images]


def is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links that lead to each other
        return False


def circles(path: Path) -> bool:
    return path.is_symlink() and leads_back(path)


def listed(names: Iterable[str]) -> str:
    """The first few names, with commas."""
    found = list(names)
    return ", ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
