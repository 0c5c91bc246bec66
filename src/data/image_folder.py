"""Pictures in folders: one folder a class, with or without train/val/test folders above them."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from src.data.base import ImageDataModule
from src.data.decode import IMAGE_SUFFIXES
from src.data.table import ImageTable, string_column
from src.errors import ConfigError

SPLIT_FOLDERS = {"train": ("train", "training"), "val": ("val", "validation", "valid"), "test": ("test", "testing")}


class ImageFolderDataModule(ImageDataModule):
    """`root/<class>/...` is cut into train, val and test; `root/train/<class>/...` and so on are taken as they are.

    With train and test only, val is cut from train; with train and val only there is no test split, unless
    test_fraction asks for one, which is then cut from train. Pictures may lie in subfolders of a class. Other files are
    ignored and counted.

    Args:
        root: the folder.
        settings: see ImageDataModule.
    """

    def __init__(self, *, root: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.root = Path(root).expanduser()

    def scan(self) -> ImageTable:
        if not self.root.is_dir():
            raise ConfigError(f"data.root='{self.root}' is not a folder.")
        folders = split_folders(self.root) or {"all": self.root}
        found = {split: find_pictures(self.root, folder) for split, folder in folders.items()}
        if empty := [str(folders[split]) for split, pictures in found.items() if not pictures.files]:
            raise ConfigError(
                f"data.root='{self.root}': no pictures in {', '.join(empty)}. Expected one folder a class, each with "
                f"pictures ({' '.join(sorted(IMAGE_SUFFIXES))})."
            )
        first = next(found[split] for split in ("all", "train") if split in found)
        class_names = self.known_classes or sorted({name for name, _ in first.files})
        if len(class_names) < 2:
            raise ConfigError(
                f"data.root='{self.root}': only one class folder with pictures, '{class_names[0]}'. Classification "
                "needs at least two."
            )
        for split, pictures in found.items():
            if unknown := sorted({name for name, _ in pictures.files} - set(class_names)):
                other = "the model" if self.known_classes else folders["train"]
                raise ConfigError(f"{folders[split]} has classes that {other} lacks: {', '.join(unknown)}.")
        paths = string_column(path for pictures in found.values() for _, path in pictures.files)
        index_of = {name: index for index, name in enumerate(class_names)}
        labels_N = np.array([index_of[name] for p in found.values() for name, _ in p.files], dtype=np.int64)
        starts = np.cumsum([0, *(len(pictures.files) for pictures in found.values())])
        rows = {split: np.arange(starts[i], starts[i + 1]) for i, split in enumerate(found)}
        notes = [note for pictures in found.values() for note in pictures.notes]
        splits = self.split(rows, labels_N, paths, notes)
        return ImageTable(paths, labels_N, class_names, splits, root=self.root, notes=notes)


class FoundPictures:
    """The pictures below a folder of class folders: `files`, sorted (class name, path relative to data.root)."""

    def __init__(self) -> None:
        self.files: list[tuple[str, str]] = []
        self.notes: list[str] = []


def split_folders(root: Path) -> dict[str, Path]:
    """`train`, `val`, `test` folders of class folders below root; empty if root has class folders itself."""
    folders: dict[str, Path] = {}
    for folder in sorted(root.iterdir()):
        split = next((split for split, names in SPLIT_FOLDERS.items() if folder.name.lower() in names), None)
        # A class may be called "train": then its folder holds pictures and no folders.
        if split and folder.is_dir() and any(visible(child) and child.is_dir() for child in folder.iterdir()):
            folders.setdefault(split, folder)
    return folders if "train" in folders else {}


def visible(path: Path) -> bool:
    return not path.name.startswith((".", "__"))


def find_pictures(root: Path, folder: Path) -> FoundPictures:
    found = FoundPictures()
    ignored: Counter[str] = Counter()
    for class_folder in sorted(folder.iterdir()):
        if not class_folder.is_dir() or not visible(class_folder):
            ignored[class_folder.suffix or class_folder.name] += class_folder.is_file()
            continue
        before = len(found.files)
        for parent, subfolders, names in os.walk(class_folder):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in sorted(names):
                path = Path(parent, name)
                if path.suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                    found.files.append((class_folder.name, path.relative_to(root).as_posix()))
                else:
                    ignored[path.suffix.lower() or name] += 1
        if len(found.files) == before:
            found.notes.append(f"{class_folder} has no pictures: ignored.")
    if total := sum(ignored.values()):
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in ignored.most_common(5) if count)
        found.notes.append(f"{folder}: {total} files that are no pictures ignored ({kinds}).")
    return found
