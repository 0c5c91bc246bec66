"""The lines of YOLO's label files: a class id, and a box or a polygon in shares of the image. Imports no torch."""

import math
from collections import Counter

from src.data.annotations.columns import ColumnsOfBoxes
from src.data.annotations.problems import Problems, decoded

FOUR = 4
LARGEST = 2**31  # of class ids


class LabelLines:
    """Reads one label file after the other; `ids` are those that data.yaml names, None = any."""

    def __init__(self, columns: ColumnsOfBoxes, ids: set[int] | None, keypoints: bool, problems: Problems) -> None:
        self.columns, self.ids, self.keypoints, self.problems = columns, ids, keypoints, problems
        self.extras = Counter[str]()

    def add(self, content: bytes, place: str) -> None:
        """The boxes of the image that was added last; `place` is the file's name."""
        try:
            text = decoded(content)
        except UnicodeError:
            self.problems.add(
                "label [file that is|files that are] no text in UTF-8, and whose boxes are left out", place
            )
            return
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.split()
            if not words:
                continue
            if "," in line or ";" in line:
                words = line.replace(",", " ").replace(";", " ").split()
            try:
                class_id, *values = map(float, words)
                box, polygons = self.box_of(values)
            except ValueError:
                self.problems.add(
                    "[line|lines] of label files that [is|are] no class id with a box or polygon, left out",
                    f"{place}, line {number}: '{line.strip()[:40]}'",
                )
                continue
            if self.known(class_id, f"{place}, line {number}"):
                self.columns.add_box(box, int(class_id), number, polygons=polygons)

    def known(self, class_id: float, place: str) -> bool:
        known = class_id.is_integer() and (
            0 <= class_id < LARGEST if self.ids is None else class_id in self.ids
        )  # not for infinity and NaN
        if not known:
            what = "that data.yaml does not name" if self.ids is not None else "that [is|are] none"
            self.problems.add(
                f"[box with a class id|boxes with class ids] {what}, left out", f"{place}: class {class_id:g}"
            )
        return known

    def box_of(self, values: list[float]) -> tuple[tuple[float, ...], list[list[float]]]:
        """Centre and size: as it stands there, or of the hull of a polygon; and that polygon, if there is one. Raises
        ValueError if it is neither.

        4 numbers are a box, 5 a box and how sure a network was of it, 6 and more a polygon, one more again how sure.
        With keypoints the first 4 are the box.
        """
        count = len(values)
        if count == FOUR:
            return tuple(values), []
        if count < FOUR:
            raise ValueError("too few numbers")
        if self.keypoints:
            self.extras["[box has|boxes have] keypoints, which are not read"] += 1
            return tuple(values[:FOUR]), []
        if count % 2:
            self.extras["[line ends|lines end] with a number more, read as a network's score and ignored"] += 1
        if count == FOUR + 1:
            return tuple(values[:FOUR]), []
        self.extras["[object is a polygon|objects are polygons]: the box is the one around it"] += 1
        xs, ys = values[: count // 2 * 2 : 2], values[1::2]
        left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
        polygons = [values] if all(map(math.isfinite, values)) else []
        return ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top), polygons
