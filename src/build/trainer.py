"""Lightning's Trainer for this machine, with callbacks and loggers."""

import logging
import os
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning import Callback, Trainer
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Checkpoint

from src.build.device import find_accelerator, find_precision, keep_freed_memory
from src.cli.launch import launched_id
from src.runs.checkpoint import AtomicCheckpointIO
from src.runs.run import TrainingRun
from src.settings.errors import ConfigError
from src.settings.kinds import require_kind
from src.settings.processes import ONE_PROCESS
from src.settings.trust import plain_config
from src.training.averaging import MovingAverage, SoupCheckpoint
from src.training.callbacks.readable_images import RequireReadableImages
from src.training.embeddings import EmbeddingCollector
from src.training.evidence import EvidenceCollector
from src.training.sharding import ShardedEvaluation, ShardedStrategy

log = logging.getLogger(__name__)


def build_trainer(run: TrainingRun) -> Trainer:
    """With callbacks and loggers. Raises ConfigError if the machine lacks what the settings ask for."""
    callbacks, loggers = build_callbacks(run), built_all("logger", run.settings.logger)
    try:
        trainer = instantiate(trainer_settings(run.settings.trainer), _partial_=True)(
            callbacks=callbacks,
            logger=loggers or False,
            plugins=[AtomicCheckpointIO(run.own_folder), *find_environment()],
            default_root_dir=run.settings.output_dir,
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


def trainer_settings(node: dict[str, Any]) -> dict[str, Any]:
    """With what `auto` means here. A job of a sweep has one device."""
    settings = dict(node)
    accelerator = find_accelerator(settings["accelerator"])
    settings["accelerator"] = accelerator
    if accelerator == "cpu":
        keep_freed_memory()
    settings["precision"] = find_precision(str(settings["precision"]), accelerator)
    if accelerator == "cpu" and settings.get("sync_batchnorm"):
        log.info("trainer.sync_batchnorm works on GPUs only: each process normalises by its own batch.")
        settings["sync_batchnorm"] = False
    sweeping = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    if settings["devices"] == "auto" and (accelerator == "cpu" or sweeping):
        settings["devices"] = 1
    if settings.get("strategy") == "fsdp":
        settings["strategy"] = ShardedStrategy()
    return {"num_sanity_val_steps": 0, **settings}


def build_callbacks(run: TrainingRun) -> list[Callback]:
    settings = run.settings
    callbacks = cast(list[Callback], built_all("callbacks", settings.callbacks))
    callbacks += [EvidenceCollector(), EmbeddingCollector()]
    if settings.ema_decay is not None:
        callbacks.append(MovingAverage(settings.ema_decay))
    callbacks.insert(0, RequireReadableImages())  # before an epoch of nothing is logged or listed
    if settings.trainer.get("strategy") == "fsdp":
        callbacks.insert(0, ShardedEvaluation())  # before any other sums over the processes at an epoch's end
    if settings.soup > 1:
        soup = SoupCheckpoint(
            dirpath=f"{settings.output_dir}/checkpoints/soup", filename="{epoch}", monitor=settings.task.monitor,
            mode=settings.task.mode, save_top_k=settings.soup, save_on_train_epoch_end=True,
            enable_version_counter=False,
        )  # fmt: skip
        callbacks.insert(0, soup)  # before last.ckpt, which has to know which files there are
    return callbacks


def built_all(group: str, nodes: dict[str, Any]) -> list[Any]:
    found = []
    for name, node in nodes.items():
        if node is None:
            continue
        if not isinstance(node, dict) or "_target_" not in node:
            raise ConfigError(f"{group}.{name}={node} names nothing: give {group}.{name}._target_=<class>.")
        found.append(instantiate(plain_config(node)))
        require_kind(found[-1], f"{group}.{name}", node["_target_"])
    return found


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
