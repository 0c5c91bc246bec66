"""Which xml files of Pascal VOC there are, of which split, and the image of each. Imports no torch."""

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from src.data.annotations.problems import text_of
from src.data.folders.split_names import folders_by_split, listed
from src.data.folders.walk import is_image, is_left_alone, walk
from src.settings.errors import ConfigError
from src.settings.plurals import number_of

FOLDER, LISTS = "Annotations", "ImageSets/Main"
IMAGE_FOLDERS = frozenset(["jpegimages", "images", "imgs"])
LISTED = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}


@dataclass
class VocLayout:
    """`files`: path of each xml and its split; empty = not split. Listed images may have no xml: `listed_alone`."""

    files: list[tuple[str, str]] = field(default_factory=list)
    listed_alone: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_xmls(root: Path, annotation_folder: Path | None) -> VocLayout:
    """Those that ImageSets/Main lists; else all of the annotation folder or below root, split as folders are called."""
    folder = root
    if annotation_folder is not None:
        there = next((path for path in (annotation_folder, root / annotation_folder) if path.is_dir()), None)
        if there is None:
            raise ConfigError(
                f"data.annotation_folder='{annotation_folder}' is no folder, neither from here nor in '{root}'."
            )
        folder = there
    elif (root / FOLDER).is_dir():
        folder = root / FOLDER
    paths = xmls_below(folder)
    if not paths:
        raise ConfigError(
            f"data.root='{root}': there are no xml files in {folder}. Expected is Pascal VOC: {FOLDER}/*.xml and "
            "JPEGImages/, or the xml files beside their images. data.annotation_folder=<folder> names another place."
        )
    lists = read_lists(root / LISTS)
    return by_lists(root, paths, lists) if lists else by_folders(folder, paths)


def xmls_below(folder: Path) -> list[str]:
    found = list[str]()
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_left_alone(name))
        found += [f"{parent}/{name}" for name in sorted(names) if name.lower().endswith(".xml") and name[0] != "."]
        if parent.count(os.sep) - str(folder).count(os.sep) > 8:  # links may lead back
            folders.clear()
    return found


def read_lists(folder: Path) -> dict[str, list[str]]:
    """The names in train.txt, val.txt and test.txt; trainval.txt is train where there is neither of the first two."""
    lists = dict[str, list[str]]()
    for split, words in {**LISTED, "trainval": ("trainval",)}.items():
        for file in (folder / f"{name}.txt" for name in words):
            if file.is_file():
                lines = (line.split() for line in text_of(file, "data.root").splitlines())
                lists[split] = [name_in_list(words) for words in lines if words]
    both = lists.pop("trainval", [])
    if both and not lists.keys() & {"train", "val"}:
        lists = {"train": both, **lists}
    return {split: names for split, names in lists.items() if names}


def name_in_list(words: list[str]) -> str:
    """Without the 1, -1 or 0 behind it in lists of one class, and without an ending; names of files may have blanks."""
    name = " ".join(words[:-1] if len(words) > 1 and words[-1] in ("1", "-1", "0") else words)
    return os.path.splitext(name)[0] if is_image(name) or name.endswith(".xml") else name  # noqa: PTH122


def by_lists(root: Path, paths: list[str], lists: dict[str, list[str]]) -> VocLayout:
    layout, of_stem = VocLayout(), {stem_of(path): path for path in paths}
    seen = dict[str, str]()
    for split, names in lists.items():
        twice = [name for name in names if seen.setdefault(name, split) != split]
        if twice:
            which = number_of(len(twice), "image is", "images are")
            layout.notes.append(f"{LISTS}/{split}.txt: {which} in another list too, and left out: {listed(twice)}.")
        for name in dict.fromkeys(name for name in names if seen[name] == split):
            path = of_stem.pop(name.rsplit("/", 1)[-1], None)
            if path is None:
                layout.listed_alone.append((name, split))
            else:
                layout.files.append((path, split))
    if layout.listed_alone:
        names = [name for name, _ in layout.listed_alone]
        layout.notes.append(
            f"{number_of(len(names), 'image')} in {LISTS} without xml, taken for images without boxes: {listed(names)}."
        )
    if of_stem:
        layout.notes.append(
            f"{number_of(len(of_stem), 'xml file is', 'xml files are')} in no list of {root / LISTS}, and left out: "
            f"{listed(of_stem)}."
        )
    if not layout.files:
        raise ConfigError(f"data.root='{root}': {LISTS} lists none of the {len(paths):,} xml files, e.g. "
                          f"{listed(seen)}. Correct the lists, or remove them to have the data cut.")  # fmt: skip
    return layout


def by_folders(folder: Path, paths: list[str]) -> VocLayout:
    """The first folder below names the split, as in Roboflow's train, valid and test; else there is none."""
    firsts = {path: path[len(str(folder)) + 1 :].split("/")[:-1][:1] for path in paths}
    names = folders_by_split(sorted({first for parts in firsts.values() for first in parts}))
    split_of_name = {name: split for split, of_split in names.items() for name in of_split}
    splits = {path: split_of_name.get(parts[0], "") if parts else "" for path, parts in firsts.items()}
    layout = VocLayout()
    without = [path for path, split in splits.items() if not split] if split_of_name else []
    if without:
        which = number_of(len(without), "xml file lies", "xml files lie")
        layout.notes.append(f"{which} in no folder of a split: left out: {listed(without)}.")
    layout.files = [(path, split) for path, split in splits.items() if split or not split_of_name]
    return layout


class ImagesOfXmls:
    """The images below root, by name and by name without its ending."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.paths, _ = walk(root)
        self.of_stem, self.of_name = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
        for path in self.paths:
            self.of_stem[stem_of(path)].append(path)
            self.of_name[path.rsplit("/", 1)[-1]].append(path)
        self.by_filename = 0

    def name_of(self, xml: str, filename: str) -> str:
        """The image that is called like the xml, else like its `filename`; as the xml says it if there is neither.

        Relative to root. The xml's own name goes first: files are renamed together, and `filename` is then out of date.
        """
        base = filename.replace("\\", "/").rsplit("/", 1)[-1]
        for candidates in (self.of_stem[stem_of(xml)], self.of_name[base]):
            if candidates:
                self.by_filename += candidates is not self.of_stem[stem_of(xml)]
                return self.nearest(candidates, xml)
        return filename or stem_of(xml)

    def nearest(self, candidates: list[str], xml: str) -> str:
        """Of images of one name that whose folders agree with most of those of the xml, and masks last."""
        own = set(xml[len(self.root) + 1 :].split("/")[:-1])

        def nearness(path: str) -> tuple[int, bool]:
            folders = path.split("/")[:-1]
            return len(own.intersection(folders)), any(name.lower() in IMAGE_FOLDERS for name in folders)

        return max(candidates, key=nearness)


def stem_of(path: str) -> str:
    return os.path.splitext(path.rsplit("/", 1)[-1])[0]  # noqa: PTH122
