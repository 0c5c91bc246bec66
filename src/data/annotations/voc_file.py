"""One Pascal VOC xml: its image, its size and its objects. Imports no torch, and refuses what xml should not bring."""

import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

from src.data.annotations.coco_file import side_of
from src.data.annotations.problems import decoded

Corners = tuple[float, float, float, float]
ENCODING = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["']""")
UNICODE = frozenset(["utf-8", "utf8", "utf-16", "utf16"])


@dataclass
class VocFile:
    """`filename` as written, `size_wh` in pixels (0 = not stated), and the objects: class name, corners x1, y1, x2, y2
    as written, whether difficult, and number in the file from 1. `broken`: what else is among its objects, in words.
    """

    filename: str
    size_wh: tuple[int, int]
    objects: list[tuple[str, Corners, bool, int]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def parse(content: bytes) -> VocFile:
    """Raises ValueError, which says in words what the file is instead."""
    if not content.strip():
        raise ValueError("it is empty")
    try:
        text = text_in(content)
    except (UnicodeError, LookupError) as error:
        raise ValueError(f"it is no text in the encoding that it names, or in UTF-8 ({error})") from error
    # Entities can stand for gigabytes, and for files of this machine; annotations have none.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("it has a DOCTYPE or entities, which are not taken")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"it is no whole xml ({error})") from error
    if root.tag != "annotation":
        raise ValueError(f"it is <{root.tag[:40]}> and not <annotation>")
    size = root.find("size")
    sides = (0, 0) if size is None else (side_of(size.findtext("width")), side_of(size.findtext("height")))
    found = VocFile((root.findtext("filename") or "").strip(), sides if all(sides) else (0, 0))
    for number, entry in enumerate(root.iterfind("object"), start=1):
        name = (entry.findtext("name") or "").strip()
        corners = corners_of(entry)
        if not name or corners is None:
            found.broken.append(f"object {number} ({'no name' if not name else f'{name[:40]}: no bndbox'})")
            continue
        difficult = (entry.findtext("difficult") or "").strip().lower() in ("1", "true", "yes")
        found.objects.append((name, corners, difficult, number))
    return found


def text_in(content: bytes) -> str:
    """Decoded here and not by the parser, so that what is looked for is found in every encoding."""
    declared = ENCODING.match(content[:200])
    name = declared[1].decode("ascii") if declared else "utf-8"
    return decoded(content) if name.lower() in UNICODE else content.decode(name)


def corners_of(entry: ElementTree.Element) -> Corners | None:
    """Of `bndbox`; else around `robndbox` (cx, cy, w, h, angle in radians, as roLabelImg writes it) or `polygon`
    (x1, y1, x2, y2, ..., or pt with x and y). None if there is none of them with numbers.
    """
    try:
        if (box := entry.find("bndbox")) is not None and len(box):
            xmin, ymin, xmax, ymax = (float(box.findtext(key) or "") for key in ("xmin", "ymin", "xmax", "ymax"))
            return xmin, ymin, xmax, ymax
        if (box := entry.find("robndbox")) is not None:
            x, y, width, height, angle = (float(box.findtext(key) or "") for key in ("cx", "cy", "w", "h", "angle"))
            cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
            across, down = (width * cos + height * sin) / 2, (width * sin + height * cos) / 2
            return x - across, y - down, x + across, y + down
        if (polygon := entry.find("polygon")) is not None:
            xs = [float(point.text or "") for point in polygon.iter() if re.fullmatch(r"x\d*", point.tag)]
            ys = [float(point.text or "") for point in polygon.iter() if re.fullmatch(r"y\d*", point.tag)]
            return min(xs), min(ys), max(xs), max(ys)
    except (ValueError, OverflowError):
        pass
    return None
