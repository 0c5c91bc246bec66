"""Boxes in the format that lies there: `data=auto`."""

import os
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Unpack

import numpy as np

from src.data.annotations.raw import RawBoxes
from src.data.folders.split_names import listed
from src.data.folders.walk import is_left_alone
from src.data.formats.boxes import BoxDataModule
from src.data.source import DataArguments
from src.data.tables.box_cells import COLUMNS
from src.data.tables.table_file import TABLE_SUFFIXES, open_table
from src.settings.errors import ConfigError
from src.settings.rules import one_of

DEEPEST = 3  # folders below data.root in which files are looked at
TRIED = 200  # files of a kind in one folder that have something in them, of which one has to be what it seems
SEEN = 20_000  # files of a kind in one folder of which is asked whether they have
BEGIN_BYTES = 1 << 16
CLASSES = {
    "coco": "src.data.formats.coco.CocoDataModule",
    "yolo": "src.data.formats.yolo.YoloDataModule",
    "voc": "src.data.formats.voc.VocDataModule",
    "csv": "src.data.formats.csv_table.CsvDataModule",
}
LOOKED_FOR = (
    "a json with images and annotations (COCO), a data.yaml with names or a folder 'labels' with .txt files "
    "of a class and numbers (YOLO), "
    f".xml files with <annotation> (Pascal VOC), a table with the columns {', '.join(COLUMNS[0])} (csv)"
)


class FoundBoxesDataModule(BoxDataModule):
    """Looks at what lies below the root, says which format that is and why, and reads it as `data=<format>` does.

    conf/data/auto.yaml explains the settings.
    """

    def __init__(
        self,
        *,
        root: str,
        without_boxes: Annotated[str, one_of("keep", "drop")] = "keep",
        **settings: Unpack[DataArguments],
    ) -> None:
        self._settings = dict(settings)
        super().__init__(root=root, without_boxes=without_boxes, **settings)

    def read_annotations(self) -> RawBoxes:
        name, files = self.format()
        module, _, kind = CLASSES[name].rpartition(".")
        place = {"root": str(self.root)} | ({"file": str(files[0])} if name == "csv" else {})
        reader: BoxDataModule = getattr(import_module(module), kind)(**place, **self._settings)
        raw = reader.read_annotations()
        shown = listed(str(file.relative_to(self.root)) for file in files)
        raw.notes.insert(0, f"data.root='{self.root}' is read as data={name}: it has {shown}.")
        return raw

    def format(self) -> tuple[str, list[Path]]:
        """Which of CLASSES, and the files that say so. Raises ConfigError if it is none of them or more than one."""
        found = formats_below(self.root)
        if not found:
            raise ConfigError(
                f"data.root='{self.root}': no annotations of boxes were found. Looked up to {DEEPEST} folders below it "
                f"for {LOOKED_FOR}. Name the format, data={'|'.join(CLASSES)}, to be told what it lacks."
            )
        if len(found) > 1 or len(found.get("csv", [])) > 1:
            seen = "; ".join(f"data={name} for {listed(map(str, files))}" for name, files in found.items())
            raise ConfigError(
                f"data.root='{self.root}' has annotations of boxes in more than one way. Name one: {seen}."
            )
        return next(iter(found.items()))


def formats_below(root: Path) -> dict[str, list[Path]]:
    """The formats of CLASSES that lie below a folder, each with a file of every folder that shows it."""
    found = defaultdict[str, list[Path]](list)
    for folder, names in folders_of(root):
        for suffixes, name, shows in (
            ((".json",), "coco", is_coco), ((".yaml", ".yml"), "yolo", is_data_yaml), ((".txt",), "yolo", is_label),
            ((".xml",), "voc", is_voc), (tuple(TABLE_SUFFIXES - {".txt"}), "csv", has_box_columns),
        ):  # fmt: skip
            files = spread([Path(folder, file) for file in names if file.lower().endswith(suffixes)])
            showing = (file for file in files if shows(file))
            found[name] += showing if name == "csv" else [file for file in [next(showing, None)] if file]
    return {name: sorted(files, key=lambda file: len(file.parts)) for name, files in found.items() if files}


def spread(files: list[Path]) -> Iterator[Path]:
    """All of a few; of more TRIED that have something in them, from anywhere, and always the same.

    Where the first ones by name show nothing, as images without objects or somebody's notes, the others may.
    """
    if len(files) <= TRIED:
        return iter(files)
    order = np.random.default_rng(0).permutation(len(files))[:SEEN].tolist()
    return islice((files[i] for i in order if has_content(files[i])), TRIED)


def has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def folders_of(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Folders down to DEEPEST, each with the names of its files, sorted. Links are followed, so far only."""
    todo = [(str(root), 0)]
    while todo:
        folder, depth = todo.pop()
        names = list[str]()
        try:
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                if not entry.is_dir():
                    names.append(entry.name)
                elif depth < DEEPEST and not is_left_alone(entry.name):
                    todo.append((entry.path, depth + 1))
        except OSError:
            continue
        yield folder, names


def begin_of(file: Path) -> bytes:
    try:
        if not file.is_file():
            return b""
        with file.open("rb") as stream:
            return stream.read(BEGIN_BYTES)
    except OSError:
        return b""


def is_coco(file: Path) -> bool:
    begin = begin_of(file)
    sections = [word for word in (b'"images"', b'"annotations"', b'"categories"') if word in begin]
    return file.name.endswith(".coco.json") or (
        begin.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{") and bool(sections)
    )


def is_data_yaml(file: Path) -> bool:
    lines = begin_of(file).splitlines()
    return any(line.startswith(b"names") for line in lines) and any(
        line.startswith((b"train", b"val", b"path", b"nc")) for line in lines
    )


def is_label(file: Path) -> bool:
    """Whether a text file begins with a class and four or more numbers, and lies in or below a folder `labels`."""
    if not any(part.lower() == "labels" for part in file.parts[-1 - DEEPEST : -1]):
        return False
    words: list[Any] = begin_of(file).split(b"\n", 1)[0].split()
    try:
        return len(words) >= 5 and bool([float(word) for word in words])
    except ValueError:
        return False


def is_voc(file: Path) -> bool:
    return b"<annotation" in begin_of(file)


def has_box_columns(file: Path) -> bool:
    try:
        with open_table(file, "data.file") as table:
            return any(set(names) <= set(table.columns) for names in COLUMNS)
    except ConfigError:
        return False
