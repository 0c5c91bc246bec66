"""One COCO json: its entries become columns while it is read, so that a million boxes are never a million objects.

Imports no torch. N images, M annotations.
"""

import json
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from src.data.annotations.outline_columns import OutlineColumns
from src.data.annotations.problems import text_of
from src.data.annotations.rle import box_of_segmentation
from src.settings.errors import ConfigError

LARGEST_SIDE, LARGEST_ID = 2**31 - 1, 2**63 - 1
NO_CATEGORY = -1
PARTS = ("images", "annotations", "categories")


class CocoFile:
    """The entries of a file as they stand in it, before images and categories are looked up.

    Ids are numbered as they come: `ids` gives the number of each, for images and categories. `images`: number of its
    id (-1 without one), name, width and height of each. Columns of annotations: `image_ids` and `category_ids` (numbers
    of ids, -1 without one), `boxes` (x, y, width, height in pixels; NaN where `has_box` is 0), `crowd`, `is_rle` (has a
    mask of run lengths), `numbers` (their id; where it is none, their place in the file); `outlines`, None if unwanted.
    Raises ConfigError, which names the file, if it is none of COCO's files of objects.
    """

    def __init__(self, path: Path, setting: str, outlines: bool = False) -> None:
        self.path, self.setting = path, setting
        self.ids: dict[str, dict[int | str, int]] = {"image": {}, "category": {}}
        self.images: list[tuple[int, str, int, int]] = []
        self.image_ids, self.category_ids, self.numbers = array("q"), array("q"), array("q")
        self.boxes, self.has_box = array("d"), array("b")
        self.crowd, self.is_rle = array("b"), array("b")
        self.outlines = OutlineColumns() if outlines else None
        self.no_attributes, self.panoptic, self.unread = True, False, 0
        content = self.parse()
        self.require_objects(content)
        self.categories: list[Any] = content["categories"]
        self.broken = {"images": len(content["images"]) - len(self.images)}
        self.broken["annotations"] = len(content["annotations"]) - len(self.numbers)

    def parse(self) -> Any:
        text = text_of(self.path, self.setting)
        if not text.strip():
            raise ConfigError(f"{self.setting}: {self.path} is empty. Export it again.")
        try:
            return json.loads(text, object_hook=self.take)
        except RecursionError as error:
            raise ConfigError(f"{self.setting}: {self.path} is no COCO json: it is nested too deeply.") from error
        except ValueError as error:
            raise ConfigError(
                f"{self.setting}: {self.path} is no valid JSON ({error}). Was it copied whole? Export it again."
            ) from error

    def require_objects(self, content: Any) -> None:
        """Raise ConfigError, with what the file is instead."""
        if isinstance(content, list):
            what = "a list, as results of a network or Label Studio's own JSON are"
        elif not isinstance(content, dict):
            what = "not a mapping"
        elif self.panoptic:
            what = "a file of panoptic segmentation (segments_info)"
        elif missing := [part for part in PARTS if not isinstance(content.get(part), list)]:
            what = f"without a list of {' and of '.join(missing)}" + (
                ", as COCO's own test sets are, which nobody can train or measure on" * (missing == ["annotations"])
            )
        elif len(self.numbers) and not any(self.has_box) and not any(i >= 0 for i in self.category_ids):
            what = "without classes and boxes, as files of captions are"
        else:
            return
        raise ConfigError(
            f"{self.setting}: {self.path} is {what}. Give a file of objects, which has images, annotations (image_id, "
            "category_id, bbox) and categories: COCO's instances_*.json, or the export that tools call COCO."
        )

    def take(self, entry: dict[str, Any]) -> Any:
        """What json does with each mapping: images and annotations are taken in, and others left as they are."""
        if "file_name" in entry:
            if "segments_info" in entry:
                self.panoptic = True
            elif "category_id" not in entry:
                return self.take_image(entry)
        return self.take_annotation(entry) if "image_id" in entry else entry

    def take_image(self, entry: dict[str, Any]) -> None:
        name, sides = entry["file_name"], (side_of(entry.get("width")), side_of(entry.get("height")))
        number = self.number_of("image", entry.get("id"))
        self.images.append((number, name if isinstance(name, str) else "", *sides))

    def take_annotation(self, entry: dict[str, Any]) -> None:
        crowd, segmentation = entry.get("iscrowd"), entry.get("segmentation")
        box = box_of(entry.get("bbox"), segmentation)
        if self.outlines is not None:
            self.outlines.add_segmentation(segmentation)
        self.boxes.extend(box or (np.nan,) * 4)
        self.has_box.append(box is not None)
        self.image_ids.append(self.number_of("image", entry["image_id"]))
        self.category_ids.append(self.number_of("category", entry.get("category_id")))
        self.crowd.append(crowd is not None and (crowd == 1 or crowd == "1"))
        self.is_rle.append(isinstance(segmentation, dict))
        number = entry.get("id")
        known = type(number) is int and abs(number) <= LARGEST_ID
        self.numbers.append(number if known else len(self.numbers))  # type: ignore[arg-type]
        if self.no_attributes and isinstance(attributes := entry.get("attributes"), dict):
            self.no_attributes = "occluded" not in attributes

    def number_of(self, kind: str, value: Any) -> int:
        """1, 1.0 and "1" are the same id; -1 for what can be none."""
        if type(value) is not int:
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            elif isinstance(value, str) and value.strip():
                value = value.strip()
                value = int(value) if len(value) < 19 and value.isdecimal() and str(int(value)) == value else value
            else:
                return -1
        known = self.ids[kind]
        return known.setdefault(value, len(known))


def box_of(box: Any, segmentation: Any) -> tuple[float, float, float, float] | None:
    """What `bbox` says; where it is missing, empty or nothing but zeros, the box around the segmentation.

    None if neither says anything.
    """
    if box:
        try:
            x, y, width, height = box
            if width or height or x or y or not segmentation:
                return float(x), float(y), float(width), float(height)
        except (TypeError, ValueError, OverflowError):  # not four numbers
            return None
    return box_of_segmentation(segmentation) if segmentation else None


def side_of(value: Any) -> int:
    """A width or height in pixels; 0 where it is not stated."""
    try:
        side = int(float(value))
    except (TypeError, ValueError, OverflowError):
        return 0
    return side if 0 < side <= LARGEST_SIDE else 0
