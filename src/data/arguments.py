"""What the constructor of a data format takes, whichever the format."""

from typing import Required

from src.data.targets import Kind
from src.models.preprocessing import Preprocessing
from src.settings.nodes import Augmentation, DataSettings


class DataArguments(DataSettings, total=False):
    """The settings of all formats, and what comes from the task and the pretrained weights; see ImageDataModule."""

    preprocessing: Required[Preprocessing]
    augmentation: Required[Augmentation]
    seed: Required[int]
    targets: Kind
    known_classes: list[str] | None
