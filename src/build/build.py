"""From settings to objects. The only file that calls hydra.utils.instantiate."""

import inspect
import logging
import os
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import get_object, instantiate
from lightning import Callback, Trainer
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torchvision.transforms import v2

from src.cli.launch import launched_id
from src.data.module import ImageDataModule
from src.models.catalogue import check_training_size, set_stochastic_depth
from src.models.classifier import ImageClassifier
from src.models.preprocessing import Preprocessing
from src.models.weights import build_backbone, find_weights, preprocessing_of, with_versions
from src.runs.checkpoint import AtomicCheckpointIO, make_record
from src.runs.record import CALIBRATION_KEY
from src.settings.errors import ConfigError
from src.settings.kinds import require_kind
from src.settings.nodes import Augmentation
from src.settings.processes import ONE_PROCESS
from src.settings.signatures import check_targets
from src.settings.trust import plain_config
from src.tasks.lookup import task_class
from src.training.averaging import MovingAverage, SoupCheckpoint
from src.training.callbacks.readable_images import RequireReadableImages
from src.training.losses import class_weights
from src.training.parameter_groups import ParameterGroups
from src.training.phases import Phase, TrainingPlan, shares
from src.training.scores_task import ScoresTask
from src.training.sharding import ShardedEvaluation, ShardedStrategy

log = logging.getLogger(__name__)


def build_datamodule(
    cfg: DictConfig, preprocessing: Preprocessing | None = None, class_names: list[str] | None = None
) -> ImageDataModule:
    """The data of the settings, scanned and split.

    The preprocessing is the weights' own, and the classes are those of the data, unless a trained model dictates them.
    """
    if preprocessing is None:
        preprocessing = preprocessing_of(cfg.backbone.name, find_weights(cfg.backbone.name, cfg.backbone.weights))
    augmentation = Augmentation(**cast(dict[str, Any], OmegaConf.to_container(cfg.augment)))
    datamodule = instantiate(cfg.data, _partial_=True)(
        preprocessing=preprocessing,
        augmentation=augmentation,
        targets=cfg.task.targets,
        seed=cfg.seed,
        known_classes=class_names,
    )
    require_kind(datamodule, "data", cfg.data.get("_target_"))
    for note in datamodule.table.notes:
        log.info("%s", note)
    return cast(ImageDataModule, datamodule)


def no_download(data: DictConfig) -> dict[str, bool]:
    """What keeps data that a checkpoint names from being fetched; empty if they cannot be."""
    return {"download": False} if "download" in inspect.signature(get_object(data._target_)).parameters else {}


def build_data_to_check(cfg: DictConfig) -> ImageDataModule:
    """The data of the settings, scanned and split as in training, for looking at the files: no weights, no classes."""
    preprocessing = Preprocessing(256, 224, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    datamodule = instantiate(cfg.data, _partial_=True)(
        preprocessing=preprocessing, augmentation=Augmentation(), targets=cfg.task.targets, seed=0
    )
    require_kind(datamodule, "data", cfg.data.get("_target_"))
    return cast(ImageDataModule, datamodule)


def build_task(
    cfg: DictConfig,
    class_names: list[str],
    preprocessing: Preprocessing,
    fingerprint: str,
    labels: npt.NDArray[Any] | None = None,
    pretrained: bool = True,
) -> ScoresTask:
    """The network with a new head for these classes, and how it trains on training images with these labels.

    Without labels, and with `pretrained` False, for which no weights are read, it is for a checkpoint to fill.
    """
    name = cfg.backbone.name
    weights = find_weights(name, cfg.backbone.weights) if pretrained else None
    net = build_backbone(name, weights, preprocessing.crop_px)
    if cfg.augment.crop_px is not None:
        check_training_size(name, cfg.augment.crop_px, preprocessing.crop_px)
    if cfg.backbone.stochastic_depth is not None:
        set_stochastic_depth(net, name, cfg.backbone.stochastic_depth)
    head = {key: value for key, value in cfg.head.items() if key != "start"}  # of head_start.py
    model = ImageClassifier(net, preprocessing, cfg.channels_last)
    model.reset_classifier(len(class_names), instantiate(head))
    if cfg.compile:
        model.compile()  # in place: reassigning torch.compile(model) would rename every entry of the checkpoint
    task = task_class(cfg.task.name)(
        model=model,
        loss=build_loss(cfg.loss, labels, len(class_names)),
        class_names=class_names,
        plan=TrainingPlan(
            monitor=cfg.task.monitor,
            phases=build_phases(cfg),
            seed=cfg.seed,
            groups=ParameterGroups(**cfg.param_groups),
            skip_nonfinite=cfg.on_nonfinite_loss == "skip",
        ),
        record=make_record(cfg, class_names, preprocessing, fingerprint),
        mixing=build_mixing(cfg.augment, len(class_names)),
    )
    if labels is not None:
        task.learn_labels(labels)
    if cfg.task.monitor not in task.metric_names:
        raise ConfigError(
            f"task.monitor='{cfg.task.monitor}' is not measured here. Allowed: {', '.join(task.metric_names)}."
        )
    return task


def build_mixing(augment: DictConfig, num_classes: int) -> nn.Module | None:
    """Mixup, cutmix, or either of the two for each batch; None if neither is wanted."""
    kinds = {v2.MixUp: augment.mixup, v2.CutMix: augment.cutmix}
    mixing = [kind(alpha=alpha, num_classes=num_classes) for kind, alpha in kinds.items() if alpha]
    return v2.RandomChoice(mixing) if len(mixing) > 1 else mixing[0] if mixing else None


def build_loss(node: DictConfig, labels: npt.NDArray[Any] | None, num_classes: int) -> nn.Module:
    """The loss, weighted by class if `loss.class_weights` says so. Raises ConfigError if it cannot be.

    Without `labels`, those of the training images, weights and counts of classes are ones: a checkpoint has them.
    """
    settings = cast(dict[str, Any], OmegaConf.to_container(node, resolve=True))
    settings.pop("targets", None)  # for src/settings/check.py
    kind = settings.pop("class_weights", None)
    accepted = inspect.signature(get_object(settings["_target_"])).parameters
    if "class_counts" in accepted:
        counts = np.ones(num_classes) if labels is None else np.bincount(labels, minlength=num_classes)
        settings["class_counts"] = torch.from_numpy(counts)
    if kind is not None:
        name = next((name for name in ("pos_weight", "weight") if name in accepted), None)
        if name is None:
            raise ConfigError(f"loss.class_weights={kind}: {settings['_target_']} takes no weights of classes.")
        settings[name] = torch.ones(num_classes) if labels is None else class_weights(kind, labels, num_classes)
    loss = instantiate(settings, _convert_="all")
    assert isinstance(loss, nn.Module)
    return loss


def build_phases(cfg: DictConfig) -> list[Phase]:
    """The freeze plan, each phase with its epochs, optimizer and schedule. Raises ConfigError for unknown arguments."""
    plan = cfg.freeze.phases
    phases = []
    for i, (phase, epochs) in enumerate(
        zip(plan, shares([p.epochs for p in plan], cfg.trainer.max_epochs), strict=True)
    ):
        optimizer = override(cfg.optimizer, phase.optimizer)
        if "lr" in optimizer and "lr" not in phase.optimizer:
            optimizer["lr"] *= phase.lr_factor
        if clips_scaled_gradients(cfg.trainer) and "fused" in optimizer:
            optimizer["fused"] = False  # a fused step unscales the gradients itself, too late for clipping
        if cfg.trainer.get("strategy") == "fsdp" and optimizer["_target_"] == "torch.optim.SGD":
            optimizer["fused"] = False  # torch has no fused step of SGD for sharded weights
        scheduler = override(cfg.scheduler, phase.scheduler)
        interval = scheduler.pop("interval", "step")
        if (warmup := scheduler.get("warmup_epochs", 0)) and warmup >= epochs:
            raise ConfigError(
                f"scheduler.warmup_epochs={warmup:g} is as long as phase {i + 1} of the freeze plan ({epochs} epochs): "
                "the rate would never reach optimizer.lr."
            )
        check_targets(OmegaConf.create({f"freeze.phases.{i}": {"optimizer": optimizer, "scheduler": scheduler}}))
        phases.append(Phase(phase.train, epochs, instantiate(optimizer), instantiate(scheduler), interval))
    return phases


def clips_scaled_gradients(trainer: DictConfig) -> bool:
    if trainer.gradient_clip_val is None:
        return False
    return "mixed" in find_precision(str(trainer.precision), find_accelerator(trainer.accelerator))


def override(node: DictConfig, changes: DictConfig) -> dict[str, Any]:
    """`node` with single settings changed; another `_target_` replaces it whole."""
    plain = cast(dict[str, Any], OmegaConf.to_container(changes, resolve=True))
    if "_target_" in plain:
        return {"_partial_": True, **plain, **PLAIN}
    return {**cast(dict[str, Any], OmegaConf.to_container(node, resolve=True)), **plain, **PLAIN}


# Lists stay lists: NAdam keeps its betas as they come, and a ListConfig in a checkpoint cannot be loaded.
PLAIN = {"_convert_": "all"}


def build_callbacks(cfg: DictConfig) -> list[Callback]:
    callbacks = cast(list[Callback], built_all(cfg, "callbacks"))
    if cfg.ema_decay is not None:
        callbacks.append(MovingAverage(cfg.ema_decay))
    callbacks.insert(0, RequireReadableImages())  # before an epoch of nothing is logged or listed
    if cfg.trainer.get("strategy") == "fsdp":
        callbacks.insert(0, ShardedEvaluation())  # before any other sums over the processes at an epoch's end
    if cfg.soup > 1:
        callbacks.insert(  # before last.ckpt, which has to know which files there are
            0,
            SoupCheckpoint(
                dirpath=f"{cfg.output_dir}/checkpoints/soup",
                filename="{epoch}",
                monitor=cfg.task.monitor,
                mode=cfg.task.mode,
                save_top_k=cfg.soup,
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            ),
        )
    return callbacks


def build_loggers(cfg: DictConfig) -> list[Logger]:
    return cast(list[Logger], built_all(cfg, "logger"))


def built_all(cfg: DictConfig, group: str) -> list[Any]:
    found = []
    for name, node in cfg[group].items():
        if node is None:
            continue
        if not isinstance(node, DictConfig) or "_target_" not in node:
            raise ConfigError(f"{group}.{name}={node} names nothing: give {group}.{name}._target_=<class>.")
        found.append(instantiate(node))
        require_kind(found[-1], f"{group}.{name}", node._target_)
    return found


def build_trainer(
    cfg: DictConfig, callbacks: list[Callback], loggers: list[Logger], folder: Path | None = None
) -> Trainer:
    """Lightning's Trainer for this machine, which writes checkpoints below `folder` alone if one is given.

    Raises ConfigError if the machine lacks what the settings ask for.
    """
    settings = cast(dict[str, Any], OmegaConf.to_container(cfg.trainer, resolve=True))
    accelerator = find_accelerator(settings["accelerator"])
    settings["accelerator"] = accelerator
    settings["precision"] = find_precision(str(settings["precision"]), accelerator)
    if accelerator == "cpu" and settings.get("sync_batchnorm"):
        log.info("trainer.sync_batchnorm works on GPUs only: each process normalises by its own batch.")
        settings["sync_batchnorm"] = False
    sweeping = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    if settings["devices"] == "auto" and (accelerator == "cpu" or sweeping):
        settings["devices"] = 1
    if settings.get("strategy") == "fsdp":
        settings["strategy"] = ShardedStrategy()
    try:
        plugins = [
            AtomicCheckpointIO(folder),
            *find_environment(),
        ]
        trainer = instantiate({"num_sanity_val_steps": 0, **settings}, _partial_=True)(
            callbacks=callbacks,
            logger=loggers or False,
            plugins=plugins,
            default_root_dir=cfg.output_dir,
            use_distributed_sampler=False,  # src.data.samplers.EpochSampler shares the images out
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            enable_progress_bar=False,  # src.training.callbacks.progress_bar
            enable_model_summary=False,  # the log says what trains, phase by phase
        )
    except Exception as error:
        cause = error.__cause__ or error
        if isinstance(cause, MisconfigurationException | ValueError | RuntimeError):
            raise ConfigError(f"trainer: {cause}") from error
        raise
    assert isinstance(trainer, Trainer)
    if isinstance(trainer.strategy, ShardedStrategy) and trainer.world_size == 1:
        raise ConfigError(ONE_PROCESS)
    return trainer


def find_environment() -> list[ClusterEnvironment]:
    """Who starts the processes of a run inside a job of SLURM: srun if it started several, else Lightning.

    Lightning itself takes any job of SLURM for one of srun's, and would wait for processes that nobody starts. Empty
    outside SLURM and under torchrun, where Lightning sees by itself what to do.
    """
    if "SLURM_JOB_ID" not in os.environ or "TORCHELASTIC_RUN_ID" in os.environ:
        return []
    if launched_id() is None:
        return [LightningEnvironment()]
    return [SLURMEnvironment(auto_requeue=False)]  # src/training/interruption.py does it, phase and step included


def find_accelerator(wanted: str) -> str:
    """cpu, gpu (CUDA or ROCm) or mps; `auto` is the best there is. Raises ConfigError if it is not there."""
    there = {"gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, available in there.items() if available)
    if not there.get("gpu" if wanted == "cuda" else wanted, True):
        have = ", ".join(name for name, available in there.items() if available)
        raise ConfigError(f"trainer.accelerator={wanted}: this machine has no such device. Available: {have}.")
    return wanted


def find_precision(wanted: str, accelerator: str) -> str:
    """What `auto` means here: bf16-mixed where the GPU computes in bf16, else 32-true."""
    if wanted in ("16-mixed", "16-true") and accelerator == "cpu":
        raise ConfigError(
            f"trainer.precision={wanted} needs a GPU, and this run uses the CPU: leave it at auto, or use 32-true."
        )
    if wanted != "auto":
        return wanted
    bf16 = accelerator in ("gpu", "cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if bf16 else "32-true"


def load_task(checkpoint: dict[str, Any], record: dict[str, Any]) -> ScoresTask:
    """The trained task out of a checkpoint, for inference: no weights file, no data, and neither loss nor optimizer.

    Calls what its settings name for head and task: see src/settings/trust.py. Raises RuntimeError, as torch does,
    if the weights do not fit.
    """
    config = record["config"]
    preprocessing = Preprocessing.from_dict(record["preprocessing"])
    head = {
        key: value for key, value in config["head"].items() if key != "start"
    }  # for src/training/tuning/head_start.py
    name = config["backbone"]["name"]
    net = build_backbone(name, None, preprocessing.crop_px)
    model = ImageClassifier(net, preprocessing, config["channels_last"])
    model.reset_classifier(len(record["class_names"]), instantiate(plain_config(head)))
    task = task_class(config["task"]["name"])(
        model=model,
        loss=nn.Identity(),
        class_names=record["class_names"],
        plan=TrainingPlan(config["task"]["monitor"]),
        record=record,
        temperature=record.get(CALIBRATION_KEY, {}).get("temperature", 1.0),  # last.ckpt has none
    )
    weights = {k: v for k, v in checkpoint["state_dict"].items() if not k.startswith("loss.")}
    task.load_state_dict(with_versions(weights, task))
    return task.eval()


def load_loss(checkpoint: dict[str, Any], record: dict[str, Any]) -> nn.Module:
    """The loss that the checkpoint's task trained with, weights of classes included."""
    loss = build_loss(plain_config(record["config"]["loss"]), None, len(record["class_names"]))
    prefix = "loss."
    loss.load_state_dict(
        {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    )
    return loss.eval()
