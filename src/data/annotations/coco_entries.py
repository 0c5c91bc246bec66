"""The entries of one COCO json: which image and class each id stands for, and what is wrong with them.

Imports no torch. M annotations.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from src.data.annotations.coco_file import CocoFile
from src.data.annotations.problems import Problems
from src.data.folders.split_names import same_text
from src.settings.plurals import agreeing, number_of

Ints = npt.NDArray[np.int64]
CROWDS = 0.5  # share of crowds among a file's annotations from which they cannot be what COCO means by them


@dataclass
class FileImages:
    """`row_of_id`: of each number of an image id, int64 [ids + 1]; -1 for one that no image has, and at the end."""

    row_of_id: Ints
    names: list[str] = field(default_factory=list)
    sizes_wh: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class FileClasses:
    """`class_of_id`: index into names of each number of a category id, int64 [ids + 1]; -1 as in FileImages."""

    class_of_id: Ints
    names: list[str]


def add_faults(
    found: CocoFile,
    no_image_M: npt.NDArray[np.bool_],
    no_class_M: npt.NDArray[np.bool_],
    no_box_M: npt.NDArray[np.bool_],
    problems: Problems,
) -> None:
    """Count the annotations that cannot be used, each with its file and id."""
    image_ids, category_ids = ([*found.ids[kind], "none"] for kind in ("image", "category"))
    for place in np.flatnonzero(no_image_M).tolist():
        where = f"{found.path}, annotation {found.numbers[place]}, image_id {image_ids[found.image_ids[place]]}"
        problems.add("[annotation|annotations] of images that the file does not list, left out", where)
    for place in np.flatnonzero(no_class_M).tolist():
        where = f"{found.path}, annotation {found.numbers[place]}, category_id "
        problems.add(
            "[annotation|annotations] of categories that the file does not list, left out",
            f"{where}{category_ids[found.category_ids[place]]}",
        )
    for place in np.flatnonzero(no_box_M).tolist():
        where = f"{found.path}, annotation {found.numbers[place]}"
        problems.add(
            "[annotation|annotations] without a bbox of four numbers and without a segmentation, left out", where
        )


def crowds(found: CocoFile, notes: list[str]) -> npt.NDArray[np.bool_]:
    """Which annotations are regions of many objects, bool [M].

    CVAT and Datumaro write iscrowd=1 for each mask, and mean one object. Their files have `attributes` with `occluded`
    in their annotations, and COCO's own have not; nor are crowds ever most of what there is (1 % in COCO).
    """
    crowd_M, is_rle_M = np.array(found.crowd, dtype=np.bool_), np.array(found.is_rle, dtype=np.bool_)
    masks = int((crowd_M & is_rle_M).sum())
    if masks and (not found.no_attributes or masks > CROWDS * len(crowd_M)):
        notes.append(
            f"{found.path}: {number_of(masks, 'mask')} with iscrowd=1 "
            f"{agreeing(masks, '[is taken as a single object|are taken as single objects]')}, since "
            + ("CVAT writes each mask so." if not found.no_attributes else "most of the file's annotations are so.")
        )
        return crowd_M & ~is_rle_M
    if crowd_M.any():
        which = number_of(int(crowd_M.sum()), "annotation is a crowd", "annotations are crowds")
        notes.append(f"{found.path}: {which} (iscrowd=1), on which nobody trains.")
    return crowd_M


def images_of(found: CocoFile, problems: Problems) -> FileImages:
    """Images listed twice are one; without annotations they count too."""
    images = FileImages(np.full(len(found.ids["image"]) + 1, -1, dtype=np.int64))
    row_of_name = dict[str, int]()
    if count := found.broken["images"]:
        problems.add("[image|images] without file_name, left out", str(found.path), count)
    for number, name, width, height in found.images:
        if not name.strip() or number < 0:
            problems.add("[image|images] without file_name or id, left out", f"{found.path}, {name or 'no file_name'}")
            continue
        row = row_of_name.get(name, -1)
        if images.row_of_id[number] not in (-1, row):
            problems.add("[image|images] with the id of another image, left out", f"{found.path}, {name}")
            continue
        if row >= 0:
            problems.add("[image|images] listed again, taken as one with the first", f"{found.path}, {name}")
        else:
            row = row_of_name[name] = len(images.names)
            images.names.append(name)
            images.sizes_wh.append((width, height))
        images.row_of_id[number] = row
    return images


def classes_of(found: CocoFile, problems: Problems, notes: list[str]) -> FileClasses:
    """By the names of the categories: two of one name are one class, ids say nothing else."""
    classes = FileClasses(np.empty(0, dtype=np.int64), [])
    index_of_id, id_of_name = dict[int, int](), dict[str, Any]()
    if count := found.broken["annotations"]:
        problems.add("[annotation|annotations] without image_id, left out", str(found.path), count)
    for category in found.categories:
        number = found.number_of("category", category.get("id")) if isinstance(category, dict) else -1
        if number < 0 or number in index_of_id:
            what = "without an id" if number < 0 else "with the id of another category"
            problems.add(f"[category|categories] {what}, left out", f"{found.path}, {str(category)[:60]}")
            continue
        name = same_text(str(category.get("name") or category["id"]).strip())
        if name in id_of_name:
            notes.append(
                f"{found.path}: the categories {id_of_name[name]} and {category['id']} are both called '{name}', "
                "and are taken as one class."
            )
        else:
            id_of_name[name] = category["id"]
            classes.names.append(name)
        index_of_id[number] = classes.names.index(name)
    classes.class_of_id = np.full(len(found.ids["category"]) + 1, -1, dtype=np.int64)
    classes.class_of_id[list(index_of_id)] = list(index_of_id.values())
    return classes
