"""The data of the settings, scanned and split; and those on which a trained model is measured."""

import logging
from pathlib import Path
from typing import Any, cast

from hydra.utils import instantiate
from omegaconf import OmegaConf

from src.data.formats.csv_table import CsvDataModule
from src.data.module import ImageDataModule
from src.data.table import ImageTable
from src.models.preprocessing import Preprocessing
from src.models.weights import find_weights, preprocessing_of
from src.runs.record import RunRecord
from src.settings.errors import ConfigError, first_line
from src.settings.kinds import require_kind
from src.settings.nodes import Augmentation, DataSettings
from src.settings.rules import wrong_values
from src.settings.schema import TrainConfig
from src.settings.signatures import check_targets, no_download
from src.settings.target_kinds import MOVE_WITH_PIXELS
from src.settings.trust import plain_config

log = logging.getLogger(__name__)

PLACES = ("root", "file", "name")  # settings of data that say which images they are
WHOLE_IMAGE_PX = 640  # longer side of images with objects, as usual where a network of one's own is trained


def build_datamodule(
    settings: TrainConfig, preprocessing: Preprocessing | None = None, scanned: ImageTable | None = None
) -> ImageDataModule:
    """The data of a run's settings, scanned and split. The preprocessing is the weights' own, if None is given.

    `scanned`: what another data module of the same data has found, so that nothing is looked for again.
    """
    backbone, data = settings.backbone, settings.data
    if preprocessing is None:
        preprocessing = preprocessing_of(backbone.name, find_weights(backbone.name, backbone.weights))
        if settings.task.targets in MOVE_WITH_PIXELS and preprocessing.resize_mode == "crop":
            preprocessing = preprocessing.with_size(WHOLE_IMAGE_PX, None)  # a classifier's own is for one object
    datamodule = instantiated(data, settings.task.targets, preprocessing, settings.augment, settings.seed, None)
    if scanned is not None:
        datamodule.table = scanned
        return datamodule
    return told(datamodule)


def told(datamodule: ImageDataModule) -> ImageDataModule:
    """After what is to be said about the data."""
    for note in datamodule.table.notes:
        log.info("%s", note)
    return datamodule


def build_data_to_check(data: dict[str, Any], targets: str) -> ImageDataModule:
    """The data, scanned and split as in training, for looking at the files: no weights, no classes."""
    preprocessing = Preprocessing(256, 224, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    if targets in MOVE_WITH_PIXELS:
        preprocessing = preprocessing.with_size(WHOLE_IMAGE_PX, None)
    return instantiated(data, targets, preprocessing, Augmentation(), 0, None)


def instantiated(
    data: dict[str, Any],
    targets: str,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    seed: int,
    known_classes: list[str] | None,
) -> ImageDataModule:
    datamodule = instantiate(plain_config(data), _partial_=True)(
        preprocessing=preprocessing, augmentation=augmentation, targets=targets, seed=seed, known_classes=known_classes
    )
    require_kind(datamodule, "data", data.get("_target_"))
    return cast(ImageDataModule, datamodule)


def data_to_evaluate(changes: dict[str, Any], record: RunRecord, trust: bool = False) -> ImageDataModule:
    """The data of the training, with single settings changed, or other data.

    Other data, or the same kind of data in another place, need not have splits nor every class; a class that the model
    does not know is an error. `changes` are settings of `data`; with a `_target_` they are those of other data, whole.
    `trust` lets the checkpoint's own settings download.
    """
    own, other = "_target_" not in changes, is_other_data(changes, record)
    data = settings_to_evaluate(changes, record, trust)
    for key in PLACES[:2]:
        if (path := data.get(key)) is not None and not Path(path).exists():
            raise ConfigError(
                f"The {'' if other else 'training '}data are not at {path}{'' if other else ' any more'}: name data "
                "with data=folder data.root=<dir>, or data.root=<dir> for data of the same kind."
            )
    try:
        augment = Augmentation(**record.config["augment"])
        targets, seed = record.setting("task.targets"), record.setting("seed")
        datamodule = told(instantiated(data, targets, record.preprocessing, augment, seed, record.class_names))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError) or not own:
            raise
        raise ConfigError(
            f"The checkpoint's own data settings cannot be used ({first_line(error)}): name data with data=folder "
            "data.root=<dir>."
        ) from error
    if isinstance(datamodule, CsvDataModule):
        datamodule.require_found()
    if not other and datamodule.table.fingerprint() != record.data_fingerprint:
        log.warning(
            "The data have changed since the training, and so may the splits have: some of these images may have "
            "been trained on. The run directory's split.csv says which."
        )
    return datamodule


def settings_to_evaluate(changes: dict[str, Any], record: RunRecord, trust: bool) -> dict[str, Any]:
    """The checkpoint's `data`, or others. Raises ConfigError for unknown arguments and values out of range."""
    own = "_target_" not in changes
    data: dict[str, Any] = record.config["data"] if own else {}
    if own and not trust:
        data = {**data, **no_download(data)}
    data = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.merge(plain_config(data), changes), resolve=True))
    check_targets({"data": data})
    if problems := list(wrong_values(DataSettings, data, "data.")):
        raise ConfigError("\n".join(problems))
    if is_other_data(changes, record):
        # No cutting, and the images as the model was trained on them: the preprocessing holds their final size.
        data |= {"val_fraction": 0.0, "test_fraction": 0.0, "image_size_px": None, "resize_px": None}
        data |= {"resize_mode": None, "folds": None, "split_file": None}
    if own and "cache" in data:
        data["cache"] = "none"  # its folder may be another machine's
    return data


def is_other_data(changes: dict[str, Any], record: RunRecord) -> bool:
    """Whether settings of `data` name other images than those of the training."""

    def place(value: Any) -> Any:
        return str(Path(value).expanduser().resolve()) if isinstance(value, str) else value

    return "_target_" in changes or any(
        key in changes and place(changes[key]) != place(record.setting(f"data.{key}")) for key in PLACES
    )
