"""Which folders are splits and which are classes. Reads names and as little else as it can. Imports no torch.

Understood are class folders; train, val and test with class folders in each; both with a folder more around everything,
or with a folder of its own name in each split (`seg_train/seg_train/cat`). What can be read in two ways is refused, and
the message says which folder to give.
"""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from src.data.decode import IMAGE_SUFFIXES
from src.data.split_names import folders_by_split, same_text, split_of
from src.data.walk import is_image, is_left_alone, leads_back
from src.errors import ConfigError

MAX_WRAPPERS = 5  # folders around everything
MAX_DEPTH = 12  # of folders in which an image is looked for
SHOWN = 5


@dataclass
class Layout:
    """`folders` of class folders by split, or of everything under `all`; what people should know about the choice."""

    folders: dict[str, Path]
    notes: list[str] = field(default_factory=list)


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


def find_layout(root: Path, known_classes: Collection[str] | None = None) -> Layout:
    """Which folders below root hold the class folders. Raises ConfigError if there are none, or if it is not clear.

    Args:
        root: data.root.
        known_classes: of a trained model. The data then need no train split, and class folders are known by name.
    """
    known = None if known_classes is None else {same_text(name) for name in known_classes}
    folder, notes = Folder(root), list[str]()
    for _ in range(MAX_WRAPPERS):
        layout = split_layout(root, folder, known) or class_layout(root, folder, known)
        if layout is not None:
            return Layout(layout.folders, notes + layout.notes)
        folder = folder.children[0]
        notes = [f"data.root='{root}': everything lies in one folder more, so it is read as data.root='{folder.path}'."]
    raise ConfigError(f"data.root='{root}': the class folders lie too deep. Give the folder that they lie in.")


# --------------------------------------------------------------------------------------------------------------- splits


def split_layout(root: Path, folder: Folder, known: set[str] | None) -> Layout | None:
    """The layout with split folders, if `folder` holds some with class folders in them."""
    claims = folders_by_split(child.name for child in folder.children)
    named = {child.name: child for child in folder.children}
    found: dict[str, Folder] = {}
    train_classes, used = set(known or ()), set[str]()
    for split in sorted(claims, key=lambda split: split != "train"):  # train first: its classes help to read the others
        places = {name: holder_of_classes(named[name], train_classes) for name in claims[split]}
        holders = [place for place in places.values() if place is not None]
        if len(holders) > 1:
            raise ConfigError(
                f"data.root='{root}': the folders {listed(claims[split])} in {folder.path} all stand for {split}. Keep "
                "one of them there, or put their images together."
            )
        if holders:
            found[split] = holders[0]
            used |= {name for name, place in places.items() if place is not None}
            train_classes |= {same_text(child.name) for child in holders[0].children} if split == "train" else set()
    others = [child for child in folder.children if child.name not in used]
    if not found or (set(found) == {"train"} and len(claims) == 1 and others and named[claims["train"][0]].has_images):
        return None  # a class may be called train, and its images lie in it
    refuse_unclear_splits(root, folder, found, claims, others, known)
    empty = [child for child in folder.subfolders if not child.holds_images]
    for child in empty:
        if split_of(child.name) and child.subfolders:
            raise ConfigError(
                f"data.root='{root}': no pictures in {child.path}. Remove it to have {split_of(child.name)} cut from "
                "train, or put the images there."
            )
    notes = [f"{child.path} has no pictures: ignored." for child in empty]
    notes += [
        f"data.root='{root}': {place.path} is the {split} split."
        for split, place in found.items()
        if place.path.parent != folder.path or place.name.lower() != split
    ]
    if others:
        notes.append(
            f"data.root='{root}': left out, since they are no split of class folders: "
            f"{listed(other.name for other in others)}."
        )
    return Layout({split: found[split].path for split in ("train", "val", "test") if split in found}, notes)


def holder_of_classes(folder: Folder, classes: set[str]) -> Folder | None:
    """The folder of class folders that a split's folder stands for: itself or the only one in it; None if none is.

    A single class folder is no wrapper if `classes` has its name.
    """
    for _ in range(MAX_WRAPPERS):
        children = folder.children
        if not children:
            return None
        only = children[0]
        wraps = len(children) == 1 and not folder.has_images and same_text(only.name) not in classes
        if wraps and (only.name.lower() == folder.name.lower() or (not only.has_images and len(only.children) > 1)):
            folder = only
            continue
        return folder
    return None


def refuse_unclear_splits(
    root: Path,
    folder: Folder,
    found: dict[str, Folder],
    claims: dict[str, list[str]],
    others: list[Folder],
    known: set[str] | None,
) -> None:
    """Raise ConfigError if what lies beside the splits may be meant as classes, or if there is nothing to train on."""
    beside = listed(other.name for other in others)
    if others and len(claims) == 1:
        split, place = next(iter(found.items()))
        raise ConfigError(
            f"data.root='{root}': {folder.path} holds the split {split} with class folders, and beside it {beside}. "
            f"Are these classes, or other splits? For the classes in {place.path} alone: data.root='{place.path}'. "
            "Else put class folders on one level, and call splits train, val and test."
        )
    if "train" not in found and known is None:
        places = ", ".join(f"data.root='{place.path}'" for place in found.values())
        flat = claims.get("train")
        why = f"the images in {listed(flat)} lie in no class folders" if flat else "there is no train folder"
        raise ConfigError(
            f"data.root='{root}' has the splits {listed(found)}, and {why}. To train on one of these: {places}."
        )


# -------------------------------------------------------------------------------------------------------------- classes


def class_layout(root: Path, folder: Folder, known: set[str] | None) -> Layout | None:
    """The layout with class folders directly in `folder`; None if its only subfolder holds everything."""
    children = folder.children
    if not children:
        refuse_without_classes(root, folder)
    if known is not None and any(same_text(child.name) in known for child in children):
        return Layout({"all": folder.path})
    if len(children) == 1 and not children[0].has_images and len(children[0].children) > 0:
        inner = children[0]
        if len(inner.children) > 1 or not inner.children[0].has_images:
            return None
    claims = folders_by_split(child.name for child in children)
    claimed = [name for split in sorted(claims, key=lambda split: split != "train") for name in claims[split]]
    if len(claims) > 1 or len(claimed) == len(children):
        refuse_flat_splits(root, folder, claimed)
    refuse_wrong_level(root, folder)
    notes = []
    if claimed:
        notes.append(
            f"data.root='{root}': {listed(claimed)} is taken for a class and not for a split, since its images lie in "
            "no class folders."
        )
    deep = [child for child in children if not child.has_images and len(child.children) > 1]
    if deep:
        inner_names = listed(inner.name for inner in deep[0].children)
        notes.append(
            f"data.root='{root}': folders with subfolders of images are taken for one class each: "
            f"{deep[0].name} ({inner_names}){f' and {len(deep) - 1} more' if len(deep) > 1 else ''}."
        )
    return Layout({"all": folder.path}, notes)


def refuse_without_classes(root: Path, folder: Folder) -> None:
    suffixes = " ".join(sorted(IMAGE_SUFFIXES))
    expected = f"Expected one folder per class, each with images ({suffixes})."
    if folder.has_images:
        raise ConfigError(
            f"data.root='{root}': the images lie directly in {folder.path}, in no class folders. {expected} "
            f"{table_hint(root, folder.path)}"
        )
    raise ConfigError(f"data.root='{root}': no pictures in {folder.path}. {expected}")


def refuse_flat_splits(root: Path, folder: Folder, names: list[str]) -> None:
    raise ConfigError(
        f"data.root='{root}': the images lie directly in {listed(names)}, which are names of splits and no classes. "
        f"Put them into class folders, such as {folder.path / names[0]}/<class>. "
        f"{table_hint(root, folder.path / names[0])}"
    )


def refuse_wrong_level(root: Path, folder: Folder) -> None:
    """Raise ConfigError if the classes seem to be a level deeper: they hold splits, or all hold the same subfolders."""
    children = folder.children
    for child in children:
        if child.has_images:
            continue
        claims = folders_by_split(inner.name for inner in child.children)
        if len(claims) > 1 or ("train" in claims and len(child.children) == 1):
            split = child.path / claims.get("train", next(iter(claims.values())))[0]
            if Folder(split).has_images:
                raise ConfigError(
                    f"data.root='{root}': the splits lie in the class folders ({split}). Put the class folders into "
                    f"the split folders instead: {split.name}/{child.name}."
                )
            places = [f"data.root='{other.path}'" for other in children if not other.has_images]
            raise ConfigError(
                f"data.root='{root}': the splits lie one level deeper ({split}). Give {' or '.join(places[:SHOWN])}."
            )
    inner_names = [{inner.name for inner in child.children} for child in children if not child.has_images]
    if len(inner_names) < len(children) or len(children) < 2:
        return
    if (
        inner_names[0]
        and all(names == inner_names[0] for names in inner_names)
        and len(inner_names[0]) >= len(children)
    ):
        outer = listed(child.name for child in children)
        raise ConfigError(
            f"data.root='{root}': {outer} all hold the same folders ({listed(sorted(inner_names[0]))}). Are these the "
            f"classes? Then give one of the outer folders, data.root='{children[0].path}', or call the outer folders "
            "train, val and test. If the outer folders are the classes, put their images directly into them, or list "
            "them in a table: data=csv data.file=<table.csv>."
        )


def table_hint(root: Path, images: Path) -> str:
    """How to train on a table that lies beside the images, or on any table."""
    tables = sorted(path for path in {*root.glob("*.csv"), *images.parent.glob("*.csv")} if path.is_file())
    if not tables:
        return "Or list them in a table: data=csv data.file=<table.csv>."
    return f"Or take their labels from a table: data=csv data.file='{tables[0]}' data.root='{images}'."


def listed(names: Iterable[str]) -> str:
    """The first few names, with commas."""
    found = list(names)
    return ", ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
