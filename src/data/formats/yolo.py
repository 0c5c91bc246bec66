"""YOLO's txt files: images, a file of lines for each, and mostly a data.yaml."""

from pathlib import Path
from typing import Annotated, Unpack

from src.data.annotations.raw import RawBoxes
from src.data.annotations.yolo_txt import read_yolo
from src.data.formats.boxes import BoxDataModule
from src.data.source import DataArguments
from src.settings.rules import one_of


class YoloDataModule(BoxDataModule):
    """Boxes, and boxes around polygons, in YOLO's label files; with a data.yaml or with folders alone.

    src/data/annotations/yolo_layout.py says where label files are looked for.
    conf/data/yolo.yaml explains the settings.
    """

    def __init__(
        self,
        *,
        root: str,
        file: str | None = None,
        without_boxes: Annotated[str, one_of("keep", "drop")] = "keep",
        **settings: Unpack[DataArguments],
    ) -> None:
        super().__init__(root=root, without_boxes=without_boxes, **settings)
        self.file = None if file is None else Path(file).expanduser()
        # A yaml may lie outside root, whose files are watched.
        self.file_changed = None if self.file is None or not self.file.is_file() else self.file.stat().st_mtime_ns

    def read_annotations(self) -> RawBoxes:
        every_pixel = self.targets == "masks"  # those of an image without label file may show anything
        return read_yolo(self.root, self.file, self.on_error, self.wants_outlines, every_pixel)
