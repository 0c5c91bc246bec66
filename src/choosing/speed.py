"""How many images per second a network takes on this machine, in inference and in training."""

import time
from collections.abc import Callable

import torch
from lightning import Trainer

from src.data.module import ImageDataModule
from src.settings.errors import first_line
from src.training.task import FineTuneTask
from src.training.tuning.batch_size import begin_largest_phase, random_batch
from src.training.tuning.rehearsal import optimizer_and_scaler, step

MOST_STEPS, ENOUGH_S = 3, 2.0  # timed steps, unless they take longer; the fastest counts


def images_per_second(
    task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer
) -> tuple[float, float | None, str]:
    """Batches of `data.batch_size` random images, no reading and no augmentation: in inference, and in training of
    everything, which `task` is spoiled by. None where a step cannot be made, and why.
    """
    size = datamodule.batch_size
    batch = task.transfer_batch_to_device(random_batch(datamodule, size), task.device, 0)
    network = task.frozen_network
    assert network is not None  # of tasks with one row of outputs per image
    inference = size / seconds_of(lambda: network.frozen_features(batch["image"]), task.device)
    begin_largest_phase(task)
    try:
        optimizer, scaler = optimizer_and_scaler(task, trainer)
        training = size / seconds_of(lambda: step(task, optimizer, scaler, [batch], trainer), task.device)
    except RuntimeError as error:  # out of memory
        return inference, None, first_line(error)
    return inference, training, ""


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """The fastest of some calls after one to warm up, which counts if it takes long."""
    fastest, spent = float("inf"), 0.0
    for number in range(1 + MOST_STEPS):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - start
        spent += seconds
        if number or seconds > ENOUGH_S:
            fastest = min(fastest, seconds)
        if spent > ENOUGH_S:
            break
    return fastest
