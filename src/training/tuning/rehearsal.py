"""Trying something out before training, on a copy of the task: nothing of it is left in the run."""

import copy
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning import Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from src.data.dataset import Batch
from src.data.module import ImageDataModule
from src.data.samplers import EpochSampler
from src.settings.errors import RunStopped
from src.training.task import FineTuneTask


@contextmanager
def rehearsal(task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer) -> Iterator[FineTuneTask]:
    """A copy of the task, on the trainer's device and in its precision, to train on and throw away.

    Random numbers are drawn as if it had never been.
    """
    with isolate_rng():
        torch.manual_seed(task.seed)
        copied = copy.deepcopy(task)  # without the trainer, and not compiled
        copied.trainer = trainer
        copied = trainer.precision_plugin.convert_module(copied).to(trainer.strategy.root_device)  # type: ignore[assignment]
        copied.train()
        with datamodule.lent_to(trainer, None if datamodule.frozen_network is None else copied.frozen_network):
            yield copied


def optimizer_and_scaler(task: FineTuneTask, trainer: Trainer) -> tuple[Optimizer, GradScaler]:
    """Of the current phase. The scaler scales nothing but float16's gradients."""
    return task.build_optimizer(), GradScaler(task.device.type, enabled=trainer.precision == "16-mixed")


def step(task: FineTuneTask, optimizer: Optimizer, scaler: GradScaler, batches: list[Batch], trainer: Trainer) -> float:
    """One optimizer step on these batches, as Lightning makes it; their mean loss before it."""
    precision, total = trainer.precision_plugin, 0.0
    optimizer.zero_grad()
    for batch in batches:
        batch = precision.convert_input(task.transfer_batch_to_device(batch, task.device, 0))
        with precision.forward_context():
            loss = task.losses(batch)["loss"] / len(batches)
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    if trainer.gradient_clip_val:
        scaler.unscale_(optimizer)
        task.clip_gradients(optimizer)
    scaler.step(optimizer)
    scaler.update()
    return total


def training_batches(datamodule: ImageDataModule, trainer: Trainer) -> Iterator[Batch]:
    """The batches of the next epochs, without end."""
    loader = datamodule.loader("train", training=True)
    limit, sampler = trainer.limit_train_batches, loader.sampler
    assert isinstance(sampler, EpochSampler)
    batches = limit if isinstance(limit, int) else max(1, int(limit * len(loader)))
    for epoch in itertools.count(sampler.epoch):
        sampler.set_epoch(epoch)
        nothing = True
        for batch in itertools.islice(loader, batches):
            if len(batch["label"]):
                nothing = False
                yield batch
        if nothing:
            raise RunStopped(
                "None of the training images can be read any more: see that they are there, and start again."
            )


def report_dir(trainer: Trainer) -> Path:
    folder = Path(trainer.default_root_dir) / "report"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
