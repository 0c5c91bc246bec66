"""Images in folders: one folder per class, with or without train/val/test folders above them."""

from collections import Counter
from pathlib import Path
from typing import Unpack

import numpy as np

from src.data.decode import IMAGE_SUFFIXES
from src.data.folders.layout import Layout, find_layout
from src.data.folders.split_names import listed, same_text
from src.data.folders.unclear_layouts import table_hint
from src.data.folders.walk import LeftOut, is_image, is_left_alone, leads_back, walk
from src.data.module import ImageDataModule
from src.data.source import DataArguments
from src.data.table import ImageTable, string_column
from src.data.targets import Classes
from src.files.printable import printable
from src.settings.errors import ConfigError
from src.settings.plurals import agreeing, number_of


class ImageFolderDataModule(ImageDataModule):
    """`root/<class>/...` is cut into train, val and test; `root/train/<class>/...` and so on are taken as they are.

    src/data/folders/layout.py says which folders are splits and classes. With train and test only, val is cut from
    train; with train and val only there is no test split, unless test_fraction asks for one, which is then cut from
    train. Images may lie in subfolders of a class. Other files are ignored and counted. Names of classes are
    compared in Unicode's NFC; files keep theirs.
    """

    def __init__(self, *, root: str, **settings: Unpack[DataArguments]) -> None:
        super().__init__(**settings)
        self.root = Path(root).expanduser()

    def scan(self) -> ImageTable:
        if not self.root.is_dir():
            raise ConfigError(f"data.root='{self.root}' is not a folder.")
        layout = find_layout(self.root, self.known_classes)
        if len({folder.resolve() for folder in layout.folders.values()}) < len(layout.folders):
            raise ConfigError(
                f"data.root='{self.root}': {listed(map(str, layout.folders.values()))} are links to the same folder, "
                "so nothing would be measured. Remove one of them: what is missing is cut from train."
            )
        found = {split: FoundImages(self.root, folder) for split, folder in layout.folders.items()}
        others = "".join(f" {note}" for images in found.values() for note in images.other_files())
        if empty := [str(layout.folders[split]) for split, images in found.items() if not images.files]:
            raise ConfigError(
                f"data.root='{self.root}': no images in {', '.join(empty)} that can be used. Expected one folder per "
                f"class, each with images ({' '.join(sorted(IMAGE_SUFFIXES))}).{others}"
            )
        targets = self.classes_of(found, layout, others)
        paths = string_column(path for images in found.values() for _, path in images.files)
        starts = np.cumsum([0, *(len(images.files) for images in found.values())])
        rows = {split: np.arange(starts[i], starts[i + 1]) for i, split in enumerate(found)}
        notes = layout.notes + stray_images(self.root, layout.folders)
        notes += [note for images in found.values() for note in images.notes()]
        splits = self.split_plan.split(rows, targets, paths, notes)
        return ImageTable(paths, targets, splits, root=self.root, notes=list(map(printable, notes)))

    def classes_of(self, found: dict[str, "FoundImages"], layout: Layout, others: str) -> Classes:
        """By the names of the folders. Raises ConfigError for a single one, and for classes that train lacks."""
        class_names = self.known_classes or sorted(found["all" if "all" in found else "train"].spellings)
        if len(class_names) < 2:
            raise ConfigError(
                f"data.root='{self.root}': only one class folder with images, '{class_names[0]}'.{others} "
                f"It takes at least two. {table_hint(self.root, self.root / class_names[0])}"
            )
        index_of = {same_text(name): index for index, name in enumerate(class_names)}
        for split, images in found.items():
            if unknown := sorted(set(images.spellings) - set(index_of)):
                other = "the model" if self.known_classes else layout.folders["train"]
                raise ConfigError(f"{layout.folders[split]} has classes that {other} lacks: {', '.join(unknown)}.")
        labels_N = np.array([index_of[name] for images in found.values() for name, _ in images.files], dtype=np.int64)
        return Classes(labels_N, class_names)


class FoundImages:
    """The images below a folder of class folders: `files`, sorted (class name in NFC, path relative to data.root)."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder, self.files = folder, list[tuple[str, str]]()
        self.left_out, self.empty = LeftOut(), list[str]()
        self.no_text: list[str] = []  # paths that are not UTF-8
        self.spellings: dict[str, list[str]] = {}  # of each class: the names of its folders
        above = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
        for class_folder in sorted(folder.iterdir()):
            if class_folder.is_dir():
                self.add_class(class_folder, f"{above}{class_folder.name}/")
            elif not is_image(class_folder.name):
                self.left_out.other_files[class_folder.suffix.lower() or class_folder.name] += class_folder.is_file()

    def add_class(self, class_folder: Path, above: str) -> None:
        if is_left_alone(class_folder.name):
            self.left_out.add("hidden", class_folder)
            return
        if class_folder.is_symlink() and leads_back(class_folder):
            self.left_out.add("circle", class_folder)
            return
        paths, left_out = walk(class_folder)
        self.left_out.merge(left_out)
        if not paths:
            self.empty.append(str(class_folder))
            return
        name = same_text(class_folder.name)
        texts = [(name, above + path) for path in paths if is_utf8(above + path)]
        self.no_text += [above + path for path in paths if not is_utf8(above + path)]
        self.files += texts
        if texts:
            self.spellings.setdefault(name, []).append(class_folder.name)

    def other_files(self) -> list[str]:
        """A sentence about the files that are no images by their names, if there are any."""
        counts = Counter[str]()
        for suffix, count in self.left_out.other_files.items():
            counts[suffix if suffix.startswith(".") else "without an extension"] += count
        counts = +counts
        if not counts:
            return []
        most = counts.most_common(5)
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in most) + (", ..." if len(counts) > len(most) else "")
        which = number_of(sum(counts.values()), "file that is no image", "files that are no images")
        return [f"{self.folder}: {which} ignored ({kinds})."]

    def notes(self) -> list[str]:
        """What people should know about what was read and what was not."""
        notes = [f"{path} has no images: ignored." for path in self.empty] + self.other_files()
        if count := len(self.no_text):
            notes.append(
                f"{self.folder}: {number_of(count, 'image is', 'images are')} left out, since "
                f"{agreeing(count, '[its name is|their names are]')} not UTF-8: {listed(self.no_text)}. Rename "
                f"{agreeing(count, '[it to use it|them to use them]')}."
            )
        for name, folders in self.spellings.items():
            if len(folders) > 1:
                notes.append(f"{self.folder}: {name} is one class, written in {len(folders)} ways of Unicode.")
        return notes + self.left_out.notes()


def is_utf8(path: str) -> bool:
    """Whether a path is text: Python stands for other bytes by half characters, which no table can hold."""
    return path.isascii() or not any("\ud800" <= character <= "\udfff" for character in path)


def stray_images(root: Path, folders: dict[str, Path]) -> list[str]:
    """Notes about images that lie in no class folder, but in data.root or in the folder of a split, and about links."""
    notes, left_out = [], LeftOut()
    for folder in dict.fromkeys([root, *folders.values()]):
        entries = sorted(folder.iterdir())
        if images := [path.name for path in entries if is_image(path.name) and path.is_file()]:
            which = number_of(len(images), "image lies", "images lie")
            notes.append(f"{folder}: {which} in no class folder: left out: {listed(images)}.")
        for path in entries:
            if path.is_symlink() and not path.exists():
                left_out.add("broken", path)
    return notes + left_out.notes()
