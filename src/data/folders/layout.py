"""Which folders are splits and which are classes. Reads names and as little else as it can. Imports no torch.

Understood are class folders; train, val and test with class folders in each; both with a folder more around everything,
or with a folder of its own name in each split (`seg_train/seg_train/cat`). What can be read in two ways is refused, and
the message says which folder to give.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from src.data.folders.split_names import folders_by_split, listed, same_text, split_of
from src.data.folders.unclear_layouts import (
    refuse_flat_splits,
    refuse_unclear_splits,
    refuse_without_classes,
    refuse_wrong_level,
)
from src.data.folders.walk import Folder
from src.settings.errors import ConfigError

MAX_WRAPPERS = 5  # folders around everything


@dataclass
class Layout:
    """`folders` of class folders by split, or of everything under `all`; what people should know about the choice."""

    folders: dict[str, Path]
    notes: list[str] = field(default_factory=list)


def find_layout(root: Path, known_classes: Collection[str] | None = None) -> Layout:
    """Which folders below root hold the class folders. Raises ConfigError if there are none, or if it is not clear.

    With `known_classes` of a trained model the data need no train split, and class folders are known by name.
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
                f"data.root='{root}': no images in {child.path}. Remove it to have {split_of(child.name)} cut from "
                "train, or put the images there."
            )
    notes = [f"{child.path} has no images: ignored." for child in empty]
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


def class_layout(root: Path, folder: Folder, known: set[str] | None) -> Layout | None:
    """The layout with class folders directly in `folder`; None if its only subfolder holds everything."""
    children = folder.children
    if not children:
        refuse_without_classes(root, folder)
    only = children[0] if len(children) == 1 and not children[0].has_images else None
    if known is not None and any(same_text(child.name) in known for child in children):
        # A folder around everything may be called as a class is.
        wraps = only is not None and sum(same_text(child.name) in known for child in only.children) > 1
        return None if wraps else Layout({"all": folder.path})
    if only is not None and (len(only.children) > 1 or not only.children[0].has_images):
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
