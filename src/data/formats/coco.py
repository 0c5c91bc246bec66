"""COCO json: one file for each split, or one that is cut."""

from pathlib import Path
from typing import Annotated, Unpack

from src.data.annotations.coco_json import read_coco
from src.data.annotations.raw import RawBoxes
from src.data.formats.boxes import BoxDataModule
from src.data.source import DataArguments
from src.settings.rules import one_of


class CocoDataModule(BoxDataModule):
    """Boxes of json files as COCO, Roboflow, CVAT, Label Studio and FiftyOne write them.

    src/data/annotations/coco_layout.py says which files are found and which split they are.
    conf/data/coco.yaml explains the settings.
    """

    def __init__(
        self,
        *,
        root: str,
        file: str | None = None,
        image_folder: str | None = None,
        without_boxes: Annotated[str, one_of("keep", "drop")] = "keep",
        **settings: Unpack[DataArguments],
    ) -> None:
        super().__init__(root=root, without_boxes=without_boxes, **settings)
        self.file = None if file is None else Path(file).expanduser()
        self.image_folder = None if image_folder is None else Path(image_folder).expanduser()

    def read_annotations(self) -> RawBoxes:
        return read_coco(self.root, self.file, self.image_folder, self.on_error, self.wants_outlines)
