"""recipe=auto: which recipe fits the data, by a short cross-validated look at training images on frozen features."""

import copy
import logging

import numpy as np
import torch
from lightning import Trainer
from omegaconf import DictConfig
from torch import Tensor

from src.build.data import build_datamodule
from src.build.task import build_task
from src.build.trainer import build_trainer
from src.choosing.starts import Starts, compared
from src.choosing.validation import parts_of
from src.cli.options import typed_settings
from src.cli.recipe import with_settings
from src.data.module import ImageDataModule
from src.data.table import ImageTable
from src.data.targets import Rows
from src.models.weights import find_weights, pretrained_head
from src.runs.opening import make_paths_absolute
from src.runs.resumed_state import find_interrupted
from src.runs.run import TrainingRun
from src.settings.errors import ConfigError
from src.settings.recipes import ONE_PROCESS, taken_settings
from src.settings.schema import TrainConfig, train_config
from src.tasks.lookup import task_class
from src.training.task import FineTuneTask
from src.training.tuning.head_start import features_by_batch, some_of_each_class

log = logging.getLogger(__name__)

MOST_IMAGES = 600  # that are looked at: the standard error of a share is then 2 points at most
FOLDS = 5
LEAST_OF_A_CLASS = 5  # images
KNOWN = ["experiment=known_classes"]
MANY_IMAGES = 1000  # in train; from here on half of the epochs are enough


def with_recipe(cfg: DictConfig) -> tuple[DictConfig, ImageTable | None]:
    """The settings with the recipe that was found, or that the run which goes on had; and the data, if looked at."""
    before = find_interrupted(cfg.resume, cfg.output_dir) if cfg.resume is not None else None
    if before is not None:
        return with_settings(cfg.output_dir, taken_settings(before.record.config.get("recipe"))), None
    settings = copy.deepcopy(cfg)
    settings.callbacks, settings.logger = {}, {}
    make_paths_absolute(settings)
    table, starts = look(train_config(settings))
    recipe, why = chosen(starts, len(table.splits["train"]))
    if recipe == KNOWN and "data.image_size_px" in typed_settings():
        recipe = [*recipe, "augment.crop_px=null"]  # this recipe's crops are for its own size
    log.info("recipe=auto: %s It takes %s.", why, " ".join(recipe))
    return with_settings(cfg.output_dir, recipe), table


def chosen(starts: Starts | None, images: int) -> tuple[list[str], str]:
    """Settings, and the reason. `starts`: None where nothing could be compared."""
    many = images >= MANY_IMAGES
    epochs = ["trainer.max_epochs=6"] if many else []
    if starts is None:
        return ["experiment=full", *epochs], "there are no pretrained classes to ask, or too few images."
    if starts.pretrained_is_enough(many):
        recipe, why = [*KNOWN], "Training adds nothing to what they say: a low rate, for few epochs."
    else:
        recipe, why = ["experiment=new_classes", *epochs], "Training tells these classes apart better: a higher rate."
    return recipe, f"{words_of(starts)} {why}"


def words_of(starts: Starts) -> str:
    difference = 100 * (starts.pretrained - starts.trained)
    return (
        f"mixtures of pretrained classes answer {starts.pretrained:.1%} of training images that they have not seen, a "
        f"trained linear classifier {starts.trained:.1%} ({difference:+.1f} points, standard error "
        f"{100 * starts.error:.1f})."
    )


def look(settings: TrainConfig) -> tuple[ImageTable, Starts | None]:
    """The data, and what their pretrained network knows of them; None if it has no classes, or too few images."""
    run = TrainingRun(settings)
    trainer = build_trainer(run)
    if trainer.world_size > 1:
        raise ConfigError(ONE_PROCESS)
    datamodule = build_datamodule(settings)
    datamodule.require_readable()
    table = datamodule.table
    torch.manual_seed(settings.seed)
    task = build_task(task_class(settings.task.name), run, datamodule)
    weights = find_weights(settings.backbone.name, settings.backbone.weights)
    assert weights is not None  # src/settings/recipes.py refuses random ones
    rows = looked_at(table)
    try:
        source = pretrained_head(settings.backbone.name, weights, task.model.head_names[0])
        part_N = parts_of(table, rows, FOLDS, 0)
    except ConfigError:
        return table, None
    features_NC, read = features_of(rows, task, datamodule, trainer)
    labels_N = np.unique(table.labels[read], return_inverse=True)[1]
    return table, compared(source, features_NC, labels_N, part_N[np.searchsorted(rows, read)])


def looked_at(table: ImageTable) -> Rows:
    """Training images, as many of each class as there can be, or of some classes if there are very many of these."""
    rows = table.splits["train"]
    labels = np.unique(table.labels[rows])
    most = MOST_IMAGES // LEAST_OF_A_CLASS
    if len(labels) > most:
        labels = labels[np.linspace(0, len(labels) - 1, most).round().astype(np.int64)]
        rows = rows[np.isin(table.labels[rows], labels)]
    return some_of_each_class(table.labels, rows, MOST_IMAGES // len(labels))


def features_of(rows: Rows, task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer) -> tuple[Tensor, Rows]:
    """What the head gets, float32 [N, C] on the CPU, of those images of these rows that can be read; and their rows."""
    features, read = list[Tensor](), list[Rows]()
    for features_BC, batch in features_by_batch("looking", rows, task, datamodule, trainer):
        features.append(features_BC)
        read.append(batch["index"].numpy())
    if not features:
        raise ConfigError("recipe=auto: none of the training images that it looked at can be read.")
    return torch.cat(features), np.concatenate(read)
