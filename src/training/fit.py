"""The training itself, one fit for each phase of the freeze plan, and what the log says of it."""

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from lightning import Trainer

from src.data.module import ImageDataModule
from src.data.table import ImageTable
from src.models.freeze import norms_in_front
from src.runs.progress import unfit
from src.runs.run import TrainingRun
from src.settings.errors import ConfigError, first_line
from src.settings.plurals import number_of
from src.training.callbacks.early_stopping import PhaseEarlyStopping
from src.training.callbacks.every_batch import find_callback
from src.training.logged import log_settings
from src.training.phases import PhasedModule
from src.training.sharding import ShardedStrategy
from src.training.task import FineTuneTask
from src.training.tuning.batch_size import use_best_batch_size
from src.training.tuning.head_start import start_from_pretrained
from src.training.tuning.learning_rate import find_rate

log = logging.getLogger(__name__)


def prepare_fit(
    run: TrainingRun, task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer, typed: Mapping[str, str]
) -> None:
    """Before the first phase: what is tried out, what is written down, and how the head starts.

    `typed` are the settings that the command line gives.
    """
    settings = run.settings
    if settings.batch_size_find and run.tries_out:
        use_best_batch_size(task, datamodule, trainer)
    if trainer.is_global_zero:
        run.write_facts(datamodule, task.record)
        log_settings(trainer, task.record, typed)
    task.start_clock(run.seconds_before)
    if settings.head.get("start") == "pretrained" and run.tries_out:
        start_from_pretrained(settings.backbone, task, datamodule, trainer)


def fit_phases(run: TrainingRun, task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer) -> None:
    """One Trainer.fit for each phase, on one Trainer, whose epochs and steps run on from phase to phase.

    A run that goes on does so in the phase of its checkpoint, at the epoch after the checkpoint's.
    """
    datamodule.resumed_epoch, datamodule.resumed_batches = run.first_epoch, run.first_batch
    for index in range(run.first_phase, len(task.phases)):
        start = run.start_epoch(index, trainer.current_epoch)
        task.begin_phase(index, start)
        # Sharded weights compute only where all processes do, and features are made by one for all of them.
        head_alone = task.phase.train == "head" and not isinstance(trainer.strategy, ShardedStrategy)
        datamodule.begin_phase(task.frozen_network if head_alone else None, task.phase.epochs)
        trainer.should_stop = False
        stopping = find_callback(trainer, PhaseEarlyStopping)
        trainer.fit_loop.max_epochs = run.end_epoch(index, start + task.phase.epochs, stopping)
        describe_phase(task, trainer)
        if run.settings.lr_find and run.tries_rate(index) and (rate := find_rate(task, datamodule, trainer)):
            task.set_rate(index, rate)
        fit(task, datamodule, trainer, run.checkpoint_of(index))


def fit(task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer, checkpoint: Path | None) -> None:
    """The current phase. Raises ConfigError if the checkpoint holds what does not fit the network."""
    try:
        trainer.fit(task, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        if checkpoint is None or task.has_started or isinstance(error, ConfigError):
            raise
        raise unfit(checkpoint, f"what it kept does not fit ({first_line(error)})") from error


def describe(task: FineTuneTask, table: ImageTable, trainer: Trainer) -> None:
    record = task.record
    parts = ", ".join(f"{len(table.splits[s]):,} {s}" for s in ("train", "val", "test") if s in table.splits)
    outputs, size_px = number_of(len(table.class_names), *table.targets.noun), record.preprocessing.crop_px
    log.info("Data: %s images, %s, %d px", parts, outputs, size_px)
    log.info("%s", table.targets.describe(table.splits["train"]))
    if dropped := table.targets.dropped(table.splits["train"], record.preprocessing):
        log.warning("%s", dropped)
    log.info("Model: %s, weights %s", record.backbone_name, record.setting("backbone.weights") or "random")
    for fact in task.facts:
        log.info("%s", fact)
    if norms := kept_norms(task):
        layers = number_of(len(norms), "layer")
        log.info("BatchNorm: %s as pretrained (freeze.batch_norm=false lets them train)", layers)
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else number_of(torch.get_num_threads(), "thread")
    log.info("Device: %d x %s (%s), precision %s", trainer.world_size, device.type, name, trainer.precision)


def kept_norms(task: PhasedModule) -> set[str]:
    """Layers of BatchNorm that stay as they were pretrained in every phase, by name."""
    return set() if task.batch_norm_trains else norms_in_front(task.model)


def describe_phase(task: PhasedModule, trainer: Trainer) -> None:
    parameters = list(task.model.net.named_parameters())
    total, trained = sum(p.numel() for _, p in parameters), sum(p.numel() for _, p in parameters if p.requires_grad)
    names = [name for name, p in parameters if p.requires_grad]
    never = kept_norms(task)  # a ResNet's first one is a block
    blocks = [block for block in (*task.model.blocks, *task.model.head_names) if block not in never]
    trained_blocks = [block for block in blocks if any(name.startswith(f"{block}.") for name in names)]
    what = f"{trained_blocks[0]} to {trained_blocks[-1]}" if len(trained_blocks) > 1 else trained_blocks[0]
    first, last = task.phase_start_epoch + 1, trainer.max_epochs
    log.info(
        "Phase %d of %d, %s: trains %s (%d of %d blocks), %.3g M of %.3g M parameters (%.1f %%)",
        task.phase_index + 1, len(task.phases), f"epoch {last}" if first == last else f"epochs {first} to {last}",
        what, len(trained_blocks), len(blocks), trained / 1e6, total / 1e6, 100 * trained / total,
    )  # fmt: skip
