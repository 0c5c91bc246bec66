"""A batch size, found by trying out larger ones before training, on a copy of the task.

The checkpoints carry what was found, and a resumed run goes on with it.
"""

import itertools
import logging
import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lightning import Trainer
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from src.data.dataset import Batch, Collate
from src.data.module import ImageDataModule
from src.files.csv_files import write_csv_file
from src.settings.errors import ConfigError, first_line
from src.settings.processes import one_process_only
from src.training.task import FineTuneTask
from src.training.tuning.rehearsal import optimizer_and_scaler, rehearsal, report_dir, step

log = logging.getLogger(__name__)

MIN_STEPS = 8  # an epoch should have so many optimizer steps, whatever the hardware could take at once
MIN_GAIN = 1.05  # in images per second, for which a batch twice as large is taken
TIMED_STEPS = 3  # after one to warm up; the fastest counts, since other programs only make steps slower
MEMORY_SHARE = 0.8  # of what is free: twice the memory of the last size has to fit into it


class Trial(NamedTuple):
    """Training steps on batches of one size."""

    size: int
    images_per_s: float
    bytes: int


def use_best_batch_size(task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer) -> None:
    """Double the data module's batch size while that is faster and fits; the checkpoints have it too.

    Measured on real training steps with random images, in the phase of the plan that trains the most parameters; what
    was tried is written into report/.
    """
    if trainer.world_size > 1:
        raise ConfigError(one_process_only("batch_size_find"))
    trials, why = try_sizes(task, datamodule, trainer)
    gains = (b.images_per_s >= MIN_GAIN * a.images_per_s for a, b in itertools.pairwise(trials))
    found = trials[sum(itertools.takewhile(bool, gains))].size
    rows = [[str(size), f"{speed:.4g}", f"{memory / 2**20:.0f}"] for size, speed, memory in trials]
    write_csv_file(report_dir(trainer) / "batch_size.csv", ["batch_size", "images_per_s", "memory_mib"], rows)
    log.info("data.batch_size=%d for this run: %s.", found, why)
    times = found / datamodule.batch_size
    datamodule.batch_size = found
    task.record = task.record.with_batch_size(found)
    if times != 1 and not task.record.setting("lr_find"):
        log.info(
            "optimizer.lr stays as it is. Steps on %g times the images may bear a higher one: %.2g times with Adam "
            "and its kin (the square root; Malladi et al. 2022, arXiv 2205.10330), %g times with SGD (Goyal et al. "
            "2017, arXiv 1706.02677). lr_find=true tries it out.",
            times, math.sqrt(times), times,
        )  # fmt: skip


def try_sizes(task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer) -> tuple[list[Trial], str]:
    """At least one trial, each on twice the size of the one before; and why there is no further one."""
    largest = len(datamodule.table.splits["train"]) // (MIN_STEPS * trainer.accumulate_grad_batches)
    trials: list[Trial] = []
    with rehearsal(task, datamodule, trainer) as copied:
        begin_largest_phase(copied)
        optimizer, scaler = optimizer_and_scaler(copied, trainer)
        free, before = free_bytes(copied.device), reset_peak(copied.device)
        size = datamodule.batch_size
        while True:
            reset_peak(copied.device)
            batch = random_batch(datamodule, size)
            try:
                seconds = seconds_of_step(copied, optimizer, scaler, batch, trainer)
            except RuntimeError as error:  # out of memory, or more numbers than a kernel can count
                if not trials:
                    raise
                return trials, f"{size} does not work ({first_line(error)})"
            trials.append(Trial(size, size / seconds, max(peak_bytes(copied.device) - before, 0)))
            log.info("Batches of %d: %.3g images/s, %.0f MiB", size, size / seconds, trials[-1].bytes / 2**20)
            if (why := why_to_stop(trials, largest, free)) is not None:
                return trials, why
            size *= 2


def why_to_stop(trials: list[Trial], largest: int, free: int) -> str | None:
    """Why twice the last size is not tried; None if it is worth it."""
    size, speed, memory = trials[-1]
    if len(trials) > 1 and speed < MIN_GAIN * trials[-2].images_per_s:
        return f"{size} is not {MIN_GAIN - 1:.0%} faster than the size before"
    if 2 * size > largest:
        return f"{2 * size} would leave an epoch fewer than {MIN_STEPS} steps"
    if 2 * memory > MEMORY_SHARE * free:
        return f"{2 * size} might need more than {MEMORY_SHARE:.0%} of the {free / 2**20:.0f} MiB that are free"
    return None


def begin_largest_phase(task: FineTuneTask) -> None:
    def trained(index: int) -> int:
        task.begin_phase(index, 0)
        return sum(p.numel() for p in task.parameters() if p.requires_grad)

    task.begin_phase(max(range(len(task.phases)), key=trained), 0)


def random_batch(datamodule: ImageDataModule, size: int) -> Batch:
    """Random images of the size that the network sees, with labels of training images."""
    rows, side = np.resize(datamodule.table.splits["train"], size), datamodule.preprocessing.crop_px
    targets, images_BCHW = datamodule.table.targets, torch.randint(256, (size, 3, side, side), dtype=torch.uint8)
    items = [
        {"image": image_CHW, "label": targets.sample(row, (side, side)), "index": row, "unreadable": []}
        for image_CHW, row in zip(images_BCHW, rows.tolist(), strict=True)
    ]
    return Collate(side, targets)(items)


def seconds_of_step(
    task: FineTuneTask, optimizer: Optimizer, scaler: GradScaler, batch: Batch, trainer: Trainer
) -> float:
    seconds = []
    for _ in range(1 + TIMED_STEPS):
        start = time.perf_counter()
        step(task, optimizer, scaler, [batch], trainer)
        if task.device.type == "cuda":
            torch.cuda.synchronize(task.device)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def free_bytes(device: torch.device) -> int:
    """What this process can still take: on a GPU; or of RAM, before the kernel would kill it.

    Raises ConfigError on devices and systems where nothing tells.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    try:
        available = [1024 * kilobytes("/proc/meminfo", "MemAvailable")]
        group = Path("/sys/fs/cgroup") / Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip().lstrip("/")
        for folder in (group, *group.parents):  # a container's or a job's limit may lie well below the machine's memory
            limit, used = folder / "memory.max", folder / "memory.current"
            if limit.is_file() and limit.read_text().strip().isdigit():
                statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                cached = int(statistics["inactive_file"])  # pages of files, which give way
                available.append(int(limit.read_text()) - int(used.read_text()) + cached)
    except OSError as error:
        raise unknown_memory() from error
    if device.type != "cpu":
        raise unknown_memory()
    return min(available)


def reset_peak(device: torch.device) -> int:
    """What this process uses now, which `peak_bytes` counts from."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_reserved(device)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # man 5 proc_pid_clear_refs
    except OSError as error:
        raise unknown_memory() from error
    return peak_bytes(device)


def peak_bytes(device: torch.device) -> int:
    """The most memory that this process has used since the last `reset_peak`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return 1024 * kilobytes("/proc/self/status", "VmHWM")


def kilobytes(file: str, name: str) -> int:
    for line in Path(file).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise FileNotFoundError(f"{file} has no {name}")


def unknown_memory() -> ConfigError:
    return ConfigError(
        "batch_size_find=true knows how much memory there is on NVIDIA and AMD GPUs and on CPUs under Linux, and not "
        "here: set data.batch_size yourself."
    )
