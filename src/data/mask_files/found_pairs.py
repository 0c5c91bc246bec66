"""Images and masks below a folder. Imports no torch."""

import os
from pathlib import Path

from src.data.annotations.voc_layout import read_lists
from src.data.folders.split_names import listed
from src.data.folders.walk import walk
from src.data.mask_files.pairs import Pairs, pair_up
from src.data.mask_files.roles import OF_MASKS, Place, core_of_mask, place_of
from src.settings.errors import ConfigError
from src.settings.plurals import number_of

LISTS = "ImageSets/Segmentation"  # of VOC: the stems of each split
EXPECTED = (
    "Expected are images and masks of the same names in two folders, such as images and masks, with folders train, val "
    "and test in them or around them or without; or masks beside their images, called like them with _mask behind it. "
    "Name the folders: data.image_folder=<dir> data.mask_folder=<dir>; or list the files in a table with the columns "
    "path and mask: data.file=<csv>."
)


def find_pairs(root: Path, image_folder: Path | None, mask_folder: Path | None, mask_suffix: str | None) -> Pairs:
    """Raises ConfigError if there are no images or no masks, or no mask belongs to an image."""
    notes = list[str]()
    if image_folder is None and mask_folder is None:
        images, masks = by_name(root, mask_suffix, notes)
    else:
        images = places_in(root, image_folder or root, "image_folder", notes)
        masks = places_in(root, mask_folder or root, "mask_folder", notes)
        if image_folder is None or mask_folder is None:
            images, masks = without_each_other(images, masks, whole_images=image_folder is not None)
    if not images or not masks:
        what = "image" if not images else "mask"
        raise ConfigError(f"data.root='{root}': no {what} was found. {EXPECTED}")
    pairs = pair_up(images, masks, mask_suffix)
    if not pairs.images:
        raise ConfigError(
            f"data.root='{root}': none of the {len(masks):,} masks (such as {masks[0].path}) is called like one of the "
            f"{len(images):,} images (such as {images[0].path}). {EXPECTED}"
        )
    pairs.notes = notes + pairs.notes
    by_lists(root, pairs)
    return pairs


def by_name(root: Path, mask_suffix: str | None, notes: list[str]) -> tuple[list[Place], list[Place]]:
    """By the names of folders, else masks beside their images by what stands behind their stems."""
    paths, left_out = walk(root)
    notes += left_out.notes()
    places = [place for path in paths if (place := place_of(path)).role != "other"]
    masks = [place for place in places if place.role == "mask"]
    images = [place for place in places if place.role == "image"]
    untold = [place for place in places if not place.role]
    if not masks:
        stems = {(os.path.dirname(place.path), place.stem) for place in places}  # noqa: PTH120
        beside = {place.path for place in places if is_beside(place, stems, mask_suffix)}
        masks = [place for place in places if place.path in beside]
        images = [place for place in places if place.path not in beside]
        return images, masks
    if images and untold:
        notes.append(
            f"{number_of(len(untold), 'image is', 'images are')} left out, in folders that are neither called like one "
            f"of images nor like one of masks: {listed(place.path for place in untold)}."
        )
    return images or untold, masks


def is_beside(place: Place, stems: set[tuple[str, str]], mask_suffix: str | None) -> bool:
    """Whether it is called like another file in its folder, with a mask's suffix behind it."""
    core = core_of_mask(place.stem, mask_suffix)
    if core is None or core == place.stem or (mask_suffix is None and not OF_MASKS.search(place.stem)):
        return False
    return (os.path.dirname(place.path), core) in stems  # noqa: PTH120


def places_in(root: Path, folder: Path, setting: str, notes: list[str]) -> list[Place]:
    """Of the images below a folder, which may lie elsewhere. Raises ConfigError if it is none."""
    there = next((path for path in (root / folder, folder) if path.is_dir()), None)
    if there is None:
        raise ConfigError(f"data.{setting}='{folder}' is no folder, neither from '{root}' nor from here.")
    paths, left_out = walk(there)
    notes += left_out.notes()
    below = os.path.relpath(there, root).replace(os.sep, "/")
    above = "" if below == "." else f"{below}/"
    places = [place_of(above + path, above) for path in paths]
    if not any(place.split for place in places):
        own = place_of(f"{above}x")  # images/train alone: a split
        places = [Place(one.path, one.role, own.split, one.folders, one.stem) for one in places]
    return places


def without_each_other(images: list[Place], masks: list[Place], whole_images: bool) -> tuple[list[Place], list[Place]]:
    """One of the two folders is named: what lies in it is not looked for among the other files."""
    if whole_images:
        own = {place.path for place in images}
        rest = [place for place in masks if place.path not in own]
        return images, [place for place in rest if place.role == "mask"] or rest
    own = {place.path for place in masks}
    rest = [place for place in images if place.path not in own]
    return [place for place in rest if place.role == "image"] or rest, masks


def by_lists(root: Path, pairs: Pairs) -> None:
    """VOC's lists say which images are which split, if there are any; the others are left out."""
    lists = read_lists(root / LISTS)
    if not lists:
        return
    split_of_stem = {name.rsplit("/", 1)[-1]: split for split in reversed(lists) for name in lists[split]}
    pairs.splits = [split_of_stem.get(Path(path).stem, "") for path in pairs.images]
    if not any(pairs.splits):
        raise ConfigError(f"data.root='{root}': {LISTS} lists none of the images. Correct the lists, or remove them.")
    listed_alone = [(path, why) for path, why in pairs.missing if Path(path).stem in split_of_stem]
    if others := len(pairs.missing) - len(listed_alone):
        pairs.notes.append(
            f"{number_of(others, 'image is', 'images are')} in no list of {LISTS} and without a mask: left out."
        )
    pairs.missing = listed_alone
