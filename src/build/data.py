"""The data of the settings, scanned and split; and those on which a trained model is measured."""

import logging
from pathlib import Path
from typing import Any, cast

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.data.formats.csv_table import CsvDataModule
from src.data.module import ImageDataModule
from src.models.preprocessing import Preprocessing
from src.models.weights import find_weights, preprocessing_of
from src.runs.record import RunRecord
from src.settings.errors import ConfigError, first_line
from src.settings.kinds import require_kind
from src.settings.nodes import Augmentation, DataSettings
from src.settings.rules import wrong_values
from src.settings.signatures import check_targets, no_download
from src.settings.trust import plain_config

log = logging.getLogger(__name__)


def build_datamodule(
    settings: DictConfig, preprocessing: Preprocessing | None = None, class_names: list[str] | None = None
) -> ImageDataModule:
    """The data of a run's settings, scanned and split.

    The preprocessing is the weights' own, and the classes are those of the data, unless a trained model dictates them.
    """
    backbone, targets = settings.backbone, settings.task.targets
    if preprocessing is None:
        preprocessing = preprocessing_of(backbone.name, find_weights(backbone.name, backbone.weights))
    augmentation = Augmentation(**cast(dict[str, Any], OmegaConf.to_container(settings.augment)))
    datamodule = instantiated(settings.data, targets, preprocessing, augmentation, settings.seed, class_names)
    for note in datamodule.table.notes:
        log.info("%s", note)
    return datamodule


def build_data_to_check(data: DictConfig, targets: str) -> ImageDataModule:
    """The data, scanned and split as in training, for looking at the files: no weights, no classes."""
    preprocessing = Preprocessing(256, 224, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return instantiated(data, targets, preprocessing, Augmentation(), 0, None)


def instantiated(
    data: DictConfig,
    targets: str,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    seed: int,
    known_classes: list[str] | None,
) -> ImageDataModule:
    datamodule = instantiate(data, _partial_=True)(
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
    settings = settings_to_evaluate(changes, record, trust)
    for key in PLACES[:2]:
        if (path := settings.data.get(key)) is not None and not Path(path).exists():
            raise ConfigError(
                f"The {'' if other else 'training '}data are not at {path}{'' if other else ' any more'}: name data "
                "with data=folder data.root=<dir>, or data.root=<dir> for data of the same kind."
            )
    try:
        datamodule = build_datamodule(settings, record.preprocessing, record.class_names)
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


def settings_to_evaluate(changes: dict[str, Any], record: RunRecord, trust: bool) -> DictConfig:
    """Those of the checkpoint, with other `data`. Raises ConfigError for unknown arguments and values out of range."""
    settings = plain_config(record.config)
    own = "_target_" not in changes
    if own and not trust:
        settings.data.update(no_download(settings.data))
    settings.data = OmegaConf.merge(settings.data if own else {}, changes)
    check_targets(OmegaConf.create({"data": settings.data}))
    plain = cast(dict[str, Any], OmegaConf.to_container(settings.data, resolve=True))
    if problems := list(wrong_values(DataSettings, plain, "data.")):
        raise ConfigError("\n".join(problems))
    if is_other_data(changes, record):
        # No cutting, and the images as the model was trained on them: the preprocessing holds their final size.
        whole = {"val_fraction": 0.0, "test_fraction": 0.0, "image_size_px": None, "resize_px": None}
        settings.data.update({**whole, "resize_mode": None, "folds": None, "split_file": None})
    if own and "cache" in settings.data:
        settings.data.cache = "none"  # its folder may be another machine's
    return settings


def is_other_data(changes: dict[str, Any], record: RunRecord) -> bool:
    """Whether settings of `data` name other images than those of the training."""

    def place(value: Any) -> Any:
        return str(Path(value).expanduser().resolve()) if isinstance(value, str) else value

    return "_target_" in changes or any(
        key in changes and place(changes[key]) != place(record.setting(f"data.{key}")) for key in PLACES
    )


PLACES = ("root", "file", "name")  # settings of data that say which images they are
