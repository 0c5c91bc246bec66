"""Pascal VOC: an xml file for each image."""

from pathlib import Path
from typing import Annotated, Unpack

from src.data.annotations.raw import RawBoxes
from src.data.annotations.voc_xml import read_voc
from src.data.formats.boxes import BoxDataModule
from src.data.source import DataArguments
from src.settings.rules import one_of


class VocDataModule(BoxDataModule):
    """Boxes of xml files as VOC, LabelImg, CVAT and Roboflow write them. Difficult objects are neither trained on nor
    counted.

    src/data/annotations/voc_layout.py says which files are read. conf/data/voc.yaml explains the settings.
    """

    def __init__(
        self,
        *,
        root: str,
        annotation_folder: str | None = None,
        without_boxes: Annotated[str, one_of("keep", "drop")] = "keep",
        **settings: Unpack[DataArguments],
    ) -> None:
        super().__init__(root=root, without_boxes=without_boxes, **settings)
        self.annotation_folder = None if annotation_folder is None else Path(annotation_folder).expanduser()

    def read_annotations(self) -> RawBoxes:
        return read_voc(self.root, self.annotation_folder, self.on_error)
