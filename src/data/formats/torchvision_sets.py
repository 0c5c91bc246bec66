"""torchvision's own data sets, which it downloads itself."""

import inspect
import logging
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
from PIL import Image
from torchvision import datasets

from src.data.decode import UnreadableImage
from src.data.module import ImageDataModule
from src.data.rgb import to_rgb
from src.data.source import DataArguments
from src.data.table import ImageTable, string_column
from src.settings.errors import ConfigError, did_you_mean

log = logging.getLogger(__name__)

# The values of `split` (or of `train`, where they are true and false) for our train, val and test; None: there is no
# such split, or no splits at all. From the documentation of torchvision 0.29.
SPLIT_VALUES: dict[str, tuple[Any, Any, Any]] = {
    "CIFAR10": (True, None, False), "CIFAR100": (True, None, False),
    "Caltech101": (None, None, None), "Caltech256": (None, None, None),
    "Country211": ("train", "valid", "test"), "DTD": ("train", "val", "test"),
    "EuroSAT": (None, None, None), "FGVCAircraft": ("train", "val", "test"),
    "FashionMNIST": (True, None, False), "Flowers102": ("train", "val", "test"),
    "Food101": ("train", None, "test"), "GTSRB": ("train", None, "test"),
    "Imagenette": ("train", None, "val"), "KMNIST": (True, None, False),
    "MNIST": (True, None, False), "OxfordIIITPet": ("trainval", None, "test"),
    "PCAM": ("train", "val", "test"), "RenderedSST2": ("train", "val", "test"),
    "STL10": ("train", None, "test"), "SUN397": (None, None, None),
    "SVHN": ("train", None, "test"), "StanfordCars": ("train", None, "test"),
    "USPS": (True, None, False),
}  # fmt: skip
# Where these classes keep the files and the labels, so that nothing has to be decoded to know them.
FILES = ("_image_files", "_images", "_samples", "samples", "imgs")
LABELS = ("targets", "_labels", "labels", "y")


class TorchvisionDataModule(ImageDataModule):
    """A set of one class per image, with its own splits; val may be cut from train. See conf/data/torchvision.yaml."""

    def __init__(self, *, name: str, root: str, download: bool = True, **settings: Unpack[DataArguments]) -> None:
        super().__init__(**settings)
        self.set_name, self.root, self.download = name, Path(root).expanduser(), download
        if name not in SPLIT_VALUES:
            raise ConfigError(
                f"data.name='{name}' is none of the sets that are known here.{did_you_mean(name, SPLIT_VALUES)} "
                f"Allowed: {', '.join(SPLIT_VALUES)}."
            )

    def scan(self) -> ImageTable:
        values = dict(zip(("train", "val", "test"), SPLIT_VALUES[self.set_name], strict=True))
        try:
            parts = {split: self.load(value) for split, value in values.items() if value is not None}
            parts = parts or {"all": self.load(None)}
        except ImportError as error:  # some sets come in the formats of MATLAB and HDF5
            raise ConfigError(f"data.name={self.set_name}: {error}: uv sync --extra torchvision-sets.") from error
        sets = list(parts.values())
        labels = [labels_of(part) for part in sets]
        starts = np.cumsum([0, *map(len, labels)])
        class_names = names_of(sets[0], int(max(part.max() for part in labels)) + 1)
        targets = self.as_known(f"data.name={self.set_name}", np.concatenate(labels), class_names)
        files = [files_of(part) for part in sets]
        root = read_row = None
        if all(part is not None for part in files):
            root = self.root.absolute()  # links stay as they are: they may lead out of the folder
            paths = string_column(path_below(root, file) for part in files for file in part or ())
        else:
            read_row = partial(read_item, sets, starts)
            paths = string_column(f"{split}/{row:06d}" for split, part in parts.items() for row in range(len(part)))
        notes = list[str]()
        given = {split: np.arange(starts[i], starts[i + 1]) for i, split in enumerate(parts)}
        splits = self.split_plan.split(given, targets, paths, notes)
        return ImageTable(paths, targets, splits, root=root, read_row=read_row, notes=notes)

    def load(self, split: Any) -> Any:
        """torchvision's object for one of its splits, downloaded if it is not there yet."""
        kind = getattr(datasets, self.set_name)
        accepted = inspect.signature(kind.__init__).parameters
        arguments: dict[str, Any] = {"root": str(self.root)}
        if split is not None:
            arguments["train" if isinstance(split, bool) else "split"] = split
        try:
            return kind(**arguments)  # not asking for a download spares some sets a look at every file
        except (RuntimeError, OSError, ValueError) as first:
            if not self.download or "download" not in accepted:
                raise ConfigError(
                    f"data.name={self.set_name} is not complete in data.root='{self.root}': {first}"
                ) from first
        log.info("Downloading %s to %s", self.set_name, self.root)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            return kind(**arguments, download=True)
        except (RuntimeError, OSError, ValueError) as error:  # among them URLError, wrong checksums, broken archives
            raise ConfigError(
                f"data.name={self.set_name} could not be downloaded to data.root='{self.root}' ({error}). Download it "
                "elsewhere and put it there as torchvision's documentation of this class says, or name another root."
            ) from error


def labels_of(part: Any) -> npt.NDArray[np.int64]:
    for name in LABELS:
        if (values := getattr(part, name, None)) is not None and len(values) == len(part):
            return np.asarray(values).astype(np.int64)
    for name in FILES:
        pairs = getattr(part, name, None)
        if pairs and isinstance(pairs[0], tuple):
            return np.array([label for _, label in pairs], dtype=np.int64)
    log.info("Reading all images of %s once for their labels ...", type(part).__name__)
    return np.array([int(part[row][1]) for row in range(len(part))], dtype=np.int64)


def files_of(part: Any) -> list[str] | None:
    for name in FILES:
        if files := getattr(part, name, None):
            return [str(file[0] if isinstance(file, tuple) else file) for file in files]
    return None


def path_below(root: Path, file: str) -> str:
    """The path of one of the set's files relative to root, or as it is if it lies elsewhere."""
    path = Path(file).absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def names_of(part: Any, classes: int) -> list[str]:
    """The classes' names; numbers where torchvision knows none."""
    names = getattr(part, "classes", None) or getattr(part, "categories", None)
    if names is None or len(names) < classes:
        return [str(index) for index in range(classes)]
    # Imagenette's are tuples of synonyms.
    return [", ".join(name) if isinstance(name, tuple) else str(name) for name in names]


def read_item(sets: list[Any], starts: npt.NDArray[np.int64], row: int) -> Image.Image:
    which = int(np.searchsorted(starts, row, side="right")) - 1
    try:
        return to_rgb(sets[which][row - int(starts[which])][0])
    except Exception as error:  # whatever the set's own decoder raises
        raise UnreadableImage(str(error) or type(error).__name__) from error
