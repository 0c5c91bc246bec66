"""The mask of each image, by the names of files and folders. Imports no torch."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from src.data.folders.split_names import listed
from src.data.mask_files.roles import OF_NEITHER, Place, core_of_image, core_of_mask
from src.settings.errors import ConfigError

Key = tuple[Any, ...]


@dataclass
class Pairs:
    """`images` and `masks`: paths below data.root, `splits` (may be empty) and `groups` (None if nobody says) of each
    pair. `missing`: images without a mask, and why; `orphans`: masks without an image.
    """

    images: list[str] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    groups: list[str] | None = None
    missing: list[tuple[str, str]] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, image: str, mask: str, split: str) -> None:
        self.images.append(image)
        self.masks.append(mask)
        self.splits.append(split)


def pair_up(images: list[Place], masks: list[Place], mask_suffix: str | None) -> Pairs:
    """Raises ConfigError if an image has several masks that differ in what stands behind their stems.

    Folders and splits have to agree where that leaves a mask; else the name alone counts, if only one is called so.
    """
    stems = {image.stem for image in images}
    masks = [mask for mask in masks if mask_suffix or mask.stem in stems or not OF_NEITHER.search(mask.stem)]
    shelves = [Shelf(context, masks, mask_suffix) for context in (of_folder, of_split, of_nothing)]
    pairs, used = Pairs(), set[str]()
    for image in images:
        mask, why = mask_for(image, shelves)
        if mask is None:
            pairs.missing.append((image.path, why))
        else:
            pairs.add(image.path, mask.path, image.split or mask.split)
            used.add(mask.path)
    pairs.orphans = [mask.path for mask in masks if mask.path not in used and shelves[0].core(mask) is not None]
    return pairs


def mask_for(image: Place, shelves: list["Shelf"]) -> tuple[Place | None, str]:
    """The mask on the first of the shelves that has any, but of another split; or None, and why."""
    for shelf in shelves:
        of_name = shelf.masks_of(image)
        found = [mask for mask in of_name if not (image.split and mask.split) or image.split == mask.split]
        if len(found) == 1:
            return found[0], ""
        if found and shelf is shelves[0]:
            refuse_several(image, found)
        if found:
            return None, f"several masks are called like it: {listed(mask.path for mask in found)}"
    return None, "no mask is called like it"


def of_folder(place: Place) -> Key:
    return (place.split, place.folders)


def of_split(place: Place) -> Key:
    return (place.split,)


def of_nothing(place: Place) -> Key:
    return ()


class Shelf:
    """Masks by what `context` says of a place, by their stem and by their core."""

    def __init__(self, context: Any, masks: Iterable[Place], mask_suffix: str | None) -> None:
        self.context, self.suffix = context, mask_suffix
        self.by_stem, self.by_core = defaultdict[Key, list[Place]](list), defaultdict[Key, list[Place]](list)
        for mask in masks:
            if (core := self.core(mask)) is not None:
                self.by_core[*context(mask), core.casefold()].append(mask)
                if mask_suffix is None:
                    self.by_stem[*context(mask), mask.stem].append(mask)

    def core(self, mask: Place) -> str | None:
        return core_of_mask(mask.stem, self.suffix)

    def masks_of(self, image: Place) -> list[Place]:
        """Those of exactly its name, else those of its name but for what stands behind it."""
        place = self.context(image)
        if exact := self.by_stem.get((*place, image.stem)):
            return exact
        cores = dict.fromkeys([image.stem.casefold(), core_of_image(image.stem).casefold()])
        return next((found for core in cores if (found := self.by_core.get((*place, core)))), [])


def refuse_several(image: Place, found: list[Place]) -> None:
    core = core_of_image(image.stem)
    ends = [mask.stem[len(core) :] for mask in found if mask.stem.casefold().startswith(core.casefold())]
    if len(set(ends)) == len(found):
        way_out = " or ".join(f"data.mask_suffix={end}" for end in ends if end)
        raise ConfigError(
            f"data.root: {image.path} has several masks: {listed(mask.path for mask in found)}. Say which kind is "
            f"meant: {way_out}."
        )
    raise ConfigError(
        f"data.root: {image.path} has several masks: {listed(mask.path for mask in found)}. Keep one of them, or name "
        "the folders: data.image_folder=<dir> data.mask_folder=<dir>."
    )
