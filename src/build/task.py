"""The network with its head, and how it trains; for training, or out of a checkpoint."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from hydra.utils import get_object, instantiate
from torch import Tensor, nn
from torchvision.transforms import v2

from src.build.device import find_accelerator, find_precision
from src.data.module import ImageDataModule
from src.models.adapted import AdaptedNetwork
from src.models.catalogue import check_training_size
from src.models.loading import with_versions
from src.models.weights import build_backbone, find_weights
from src.runs.record import RunRecord
from src.runs.run import TrainingRun
from src.settings.errors import ConfigError
from src.settings.nodes import Augmentation
from src.settings.plurals import number_of
from src.settings.schema import TrainConfig
from src.settings.signatures import arguments_of, check_targets
from src.settings.target_kinds import MOVE_WITH_PIXELS
from src.settings.trust import plain_config
from src.training.losses import class_weights
from src.training.phases import ParameterGroups, Phase, TrainingPlan
from src.training.task import FineTuneTask


def build_task(kind: type[FineTuneTask], run: TrainingRun, datamodule: ImageDataModule) -> FineTuneTask:
    """The network with a new head for the classes of the data, and how it trains on them.

    Raises ConfigError if these are not what the run goes on with, and for settings that do not fit.
    """
    settings, table = run.settings, datamodule.table
    record = run.record_of(table.class_names, datamodule.preprocessing, table.fingerprint())
    rows = table.splits["train"]
    if not record.network:
        record = replace(record, network=kind.network_for(table.targets.take(rows), record))
    task = kind(
        model=build_model(kind, settings, record, run.reads_weights),
        loss=build_loss(settings.loss, len(record.class_names), table.targets.examples(rows), len(rows)),
        plan=TrainingPlan(
            monitor=settings.task.monitor,
            phases=build_phases(run),
            seed=settings.seed,
            groups=ParameterGroups(**vars(settings.param_groups)),
            skip_nonfinite=settings.on_nonfinite_loss == "skip",
            batch_norm_trains=not keeps_norms(settings),
        ),
        record=record,
        mixing=build_mixing(settings.augment, len(record.class_names)),
    )
    task.learn_labels(table.targets.labels(rows))
    if settings.task.monitor not in task.metric_names:
        raise ConfigError(
            f"task.monitor='{settings.task.monitor}' is not measured here. Allowed: {', '.join(task.metric_names)}."
        )
    task.require_measurable(table.targets.labels(table.splits["val"]))
    return task


def keeps_norms(settings: TrainConfig) -> bool:
    """Whether BatchNorm stays as it was pretrained."""
    if settings.freeze.batch_norm is not None:
        return settings.freeze.batch_norm
    return settings.backbone.weights is not None and settings.task.targets not in MOVE_WITH_PIXELS


def build_model(kind: type[FineTuneTask], settings: TrainConfig, record: RunRecord, pretrained: bool) -> AdaptedNetwork:
    """Without `pretrained` no weights are read: a checkpoint brings all of them."""
    name, crop_px = settings.backbone.name, record.preprocessing.crop_px
    weights = find_weights(name, settings.backbone.weights) if pretrained else None
    net = build_backbone(name, weights, crop_px, settings.backbone.stochastic_depth)
    if settings.augment.crop_px is not None:
        check_training_size(name, settings.augment.crop_px, crop_px)
    model = with_head(kind, net, settings.head, settings.channels_last, record)
    if settings.compile:
        model.compile()  # in place: reassigning torch.compile(model) would rename every entry of the checkpoint
    return model


def with_head(
    kind: type[FineTuneTask], net: nn.Module, head: dict[str, Any], channels_last: bool, record: RunRecord
) -> AdaptedNetwork:
    node = {key: value for key, value in head.items() if key not in ("start", "targets")}  # read by us
    return kind.adapt(net, record, instantiate(plain_config(node)), channels_last)


def build_phases(run: TrainingRun) -> list[Phase]:
    """The freeze plan of the run's settings. Raises ConfigError for unknown arguments, and a warmup without end."""
    settings = run.settings
    phases = []
    unscales = settings.trainer.get("gradient_clip_val") is not None and "mixed" in find_precision(
        str(settings.trainer["precision"]), find_accelerator(settings.trainer["accelerator"])
    )
    for i, (phase, epochs) in enumerate(zip(settings.freeze.phases, run.phase_epochs, strict=True)):
        optimizer = override(settings.optimizer, phase.optimizer)
        if "lr" in optimizer and "lr" not in phase.optimizer:
            optimizer["lr"] *= phase.lr_factor
        if unscales and "fused" in optimizer:
            optimizer["fused"] = False  # a fused step unscales the gradients itself, too late for clipping
        if settings.trainer.get("strategy") == "fsdp" and optimizer["_target_"] == "torch.optim.SGD":
            optimizer["fused"] = False  # torch has no fused step of SGD for sharded weights
        scheduler = override(settings.scheduler, phase.scheduler)
        interval = scheduler.pop("interval", "step")
        if (warmup := scheduler.get("warmup_epochs", 0)) and warmup >= epochs:
            raise ConfigError(
                f"scheduler.warmup_epochs={warmup:g} is as long as phase {i + 1} of the freeze plan ("
                f"{number_of(epochs, 'epoch')}): the rate would never reach optimizer.lr."
            )
        check_targets({f"freeze.phases.{i}": {"optimizer": optimizer, "scheduler": scheduler}})
        nodes = plain_config({"optimizer": optimizer, "scheduler": scheduler})
        built = instantiate(nodes.optimizer), instantiate(nodes.scheduler)
        phases.append(Phase(phase.train, epochs, *built, interval))
    return phases


def override(node: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`node` with single settings changed; another `_target_` replaces it whole."""
    if "_target_" in changes:
        node = {"_partial_": True}
    # Lists stay lists: NAdam keeps its betas as they come, and a ListConfig in a checkpoint cannot be loaded.
    return {**node, **changes, "_convert_": "all"}


def build_mixing(augment: Augmentation, num_classes: int) -> nn.Module | None:
    """Mixup, cutmix, or either of the two for each batch; None if neither is wanted."""
    kinds = {v2.MixUp: augment.mixup, v2.CutMix: augment.cutmix}
    mixing = [kind(alpha=alpha, num_classes=num_classes) for kind, alpha in kinds.items() if alpha]
    return v2.RandomChoice(mixing) if len(mixing) > 1 else mixing[0] if mixing else None


def untrained_task(kind: type[FineTuneTask], record: RunRecord, loss: nn.Module | None = None) -> FineTuneTask:
    """The task of a checkpoint, for inference: no weights file, no data, and no optimizer.

    Calls what its settings name for the head: see src/settings/trust.py.
    """
    net = build_backbone(record.backbone_name, None, record.preprocessing.crop_px)
    model = with_head(kind, net, record.config["head"], record.config["channels_last"], record)
    return kind(model, TrainingPlan(record.monitor), record, loss or nn.Identity())


def load_task(
    kind: type[FineTuneTask], state_dict: dict[str, Tensor], record: RunRecord, with_loss: bool
) -> FineTuneTask:
    """With the weights of its checkpoint, and perhaps with the loss that it trained with, weights of classes included.

    Raises RuntimeError, as torch does, if they do not fit.
    """
    loss = build_loss(record.config["loss"], len(record.class_names)) if with_loss else None
    task = untrained_task(kind, record, loss)
    weights = {name: value for name, value in state_dict.items() if with_loss or not name.startswith("loss.")}
    task.load_state_dict(with_versions(weights, task))
    return task.eval()


def build_loss(
    node: dict[str, Any], num_classes: int, counts_K: npt.NDArray[np.int64] | None = None, images: int = 0
) -> nn.Module | None:
    """The loss, weighted by class if `loss.class_weights` says so, or None. Raises ConfigError if it cannot be.

    Without the `counts_K` of the training images that show each class, weights and counts are ones: a checkpoint has
    them.
    """
    settings = dict(node)
    if not settings:
        return None
    settings.pop("targets", None)  # for src/settings/check.py
    kind = settings.pop("class_weights", None)
    accepted = arguments_of(get_object(settings["_target_"]))[0]
    if "class_counts" in accepted:
        settings["class_counts"] = torch.from_numpy(np.ones(num_classes) if counts_K is None else counts_K)
    if kind is not None:
        name = next((name for name in ("pos_weight", "weight") if name in accepted), None)
        if name is None:
            raise ConfigError(f"loss.class_weights={kind}: {settings['_target_']} takes no weights of classes.")
        several = images if name == "pos_weight" else None
        settings[name] = torch.ones(num_classes) if counts_K is None else class_weights(kind, counts_K, several)
    loss = instantiate(settings, _convert_="all")
    assert isinstance(loss, nn.Module)
    return loss
