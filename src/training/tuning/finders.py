"""Before training: a learning rate and a batch size, found by trying them out.

Both try on a copy of the task, so the run itself is as if nothing had been tried: weights, BatchNorm's statistics,
metrics, random numbers, order of the images. The checkpoints carry what was found, and a resumed run goes on with it.
"""

import copy
import csv
import itertools
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from lightning import Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from src.cli.progress import progress_bar
from src.data.dataset import Batch, EpochSampler
from src.data.module import ImageDataModule
from src.reports.drawing import draw_range_test
from src.settings.contradictions import one_process_only
from src.settings.errors import ConfigError, RunStopped
from src.training.scores_task import ScoresTask

log = logging.getLogger(__name__)

Curve = npt.NDArray[np.float64]

# ------------------------------------------------------------------------------------------------------ learning rate

RATES = np.geomspace(1e-6, 10, 100)  # of the steps of a range test: 14 a decade
SMOOTHING_STEPS = 3.0  # standard deviation of the window that the losses are averaged over
DIVERGED = 4.0  # times the lowest smoothed loss, and above the first one: where a test ends
MIN_FALL = 2.0  # times the standard deviation of the losses around their smoothed course; less is chance
FALL_SHARE = 0.9  # of the fall to the lowest smoothed loss, at which the suggestion lies


def find_rate(task: ScoresTask, datamodule: ImageDataModule, trainer: Trainer) -> None:
    """Give the task's current phase the rate that a range test suggests; write the test into report/.

    Range test: Smith 2017, arXiv 1506.01186, section 3.3. Where the loss never falls, the phase keeps the rate it has.
    """
    require_one_process("lr_find", trainer)
    start, phase, name = time.perf_counter(), task.phase, f"phase_{task.phase_index + 1}"
    with rehearsal(task, datamodule, trainer) as copied:
        given = build_optimizer(copied, trainer)[0].defaults["lr"]
        rates, losses = range_test(copied, training_batches(datamodule, trainer), trainer)
    smoothed = smooth(losses)
    found, why = suggest(rates, losses)
    report = report_dir(trainer)
    rows = [[f"{value:.6g}" for value in row] for row in zip(rates, losses, smoothed, strict=True)]
    write_csv(report / f"lr_find_{name}.csv", ["lr", "loss", "smoothed"], rows)
    title = f"Phase {task.phase_index + 1} (train: {phase.train}): {why}"
    draw_range_test(rates, losses, smoothed, given, found, title).save(report / f"lr_find_{name}.png")
    what = f"lr_find: {len(losses)} steps in {time.perf_counter() - start:.0f} s"
    if found is None:
        log.warning("%s. %s: the rate of this phase stays %g.", what, why, given)
        return
    log.info("%s. %s. The rate of this phase becomes %g (without lr_find: %g).", what, why, found, given)
    task.set_rate(task.phase_index, found)


def range_test(task: ScoresTask, batches: Iterator[Batch], trainer: Trainer) -> tuple[Curve, Curve]:
    """Rates and losses of steps that grow until the loss has diverged; they train `task`.

    The rate is that of the phase: each group of parameters has its share of it, as in training.
    """
    optimizer, scaler = build_optimizer(task, trainer)
    losses: list[float] = []
    with progress_bar() as progress:
        bar = progress.add_task("find the rate", total=len(RATES), speed="", loss="")
        for rate in RATES:
            for group in optimizer.param_groups:
                group["lr"] = float(rate) * group["lr_scale"]
            loss = step(
                task, optimizer, scaler, list(itertools.islice(batches, trainer.accumulate_grad_batches)), trainer
            )
            if not math.isfinite(loss):
                break
            losses.append(loss)
            smoothed = smooth(np.array(losses))
            if smoothed[-1] > max(DIVERGED * smoothed.min(), smoothed[0]):
                break
            progress.update(bar, advance=1, loss=f"loss {loss:.4f}")
    return RATES[: len(losses)], np.array(losses)


def smooth(losses: Curve) -> Curve:
    """Means over a Gaussian window around each step: unlike a moving average it does not lag behind."""
    steps = np.arange(len(losses))
    weights = np.exp(-0.5 * ((steps[:, None] - steps) / SMOOTHING_STEPS) ** 2)
    smoothed: Curve = weights @ losses / weights.sum(axis=1)
    return smoothed


def suggest(rates: Curve, losses: Curve) -> tuple[float | None, str]:
    """The rate at which the smoothed loss has made FALL_SHARE of its fall, with two digits; None without a fall. Why.

    That is a factor below the rate of the lowest loss, from where on the loss climbs, and a similar one for all seeds.
    The steepest descent, which is often taken, lies anywhere on a curve that falls evenly over two decades.
    """
    if len(losses) < 2:
        return None, "The loss is not finite"
    smoothed = smooth(losses)
    lowest = int(smoothed.argmin())
    first, last, noise = smoothed[0], smoothed[lowest], np.std((losses - smoothed)[: lowest + 1])
    if first - last <= MIN_FALL * noise:
        return None, f"The loss does not fall from {first:.3g} by more than it varies from batch to batch"
    found = rates[np.argmax(smoothed <= first - FALL_SHARE * (first - last))]
    why = f"The loss falls from {first:.3g} to {last:.3g} at {rates[lowest]:.2g}, {FALL_SHARE:.0%} of it by {found:.2g}"
    return float(f"{found:.2g}"), why


# --------------------------------------------------------------------------------------------------------- batch size

MIN_STEPS = 8  # an epoch should have so many optimizer steps, whatever the hardware could take at once
MIN_GAIN = 1.05  # in images per second, for which a batch twice as large is taken
TIMED_STEPS = 3  # after one to warm up; the fastest counts, since other programs only make steps slower
MEMORY_SHARE = 0.8  # of what is free: twice the memory of the last size has to fit into it


def find_batch_size(task: ScoresTask, datamodule: ImageDataModule, trainer: Trainer) -> int:
    """Double data.batch_size while that is faster and fits; write what was tried into report/. What is found is used.

    Measured on real training steps with random images, in the phase of the plan that trains the most parameters.
    """
    require_one_process("batch_size_find", trainer)
    given, train_rows = datamodule.batch_size, datamodule.table.splits["train"]
    largest = len(train_rows) // (MIN_STEPS * trainer.accumulate_grad_batches)
    tried: list[tuple[int, float, int]] = []  # batch size, images per second, bytes
    with rehearsal(task, datamodule, trainer) as copied:
        begin_largest_phase(copied)
        optimizer, scaler = build_optimizer(copied, trainer)
        free, before = free_bytes(copied.device), reset_peak(copied.device)
        size = given
        while True:
            reset_peak(copied.device)
            batch = random_batch(datamodule, size)
            try:
                seconds = seconds_of_step(copied, optimizer, scaler, batch, trainer)
            except RuntimeError as error:  # out of memory, or more numbers than a kernel can count
                if not tried:
                    raise
                why = f"{size} does not work ({str(error).splitlines()[0]})"
                break
            memory = max(peak_bytes(copied.device) - before, 0)
            tried.append((size, size / seconds, memory))
            log.info("Batches of %d: %.3g images/s, %.0f MiB", *tried[-1][:2], memory / 2**20)
            if len(tried) > 1 and tried[-1][1] < MIN_GAIN * tried[-2][1]:
                why = f"{size} is not {MIN_GAIN - 1:.0%} faster than the size before"
                break
            if 2 * size > largest:
                why = f"{2 * size} would leave an epoch fewer than {MIN_STEPS} steps"
                break
            if 2 * memory > MEMORY_SHARE * free:
                why = f"{2 * size} might need more than {MEMORY_SHARE:.0%} of the {free / 2**20:.0f} MiB that are free"
                break
            size *= 2
    gains = (b[1] >= MIN_GAIN * a[1] for a, b in itertools.pairwise(tried))
    found = tried[sum(itertools.takewhile(bool, gains))][0]
    rows = [[str(size), f"{speed:.4g}", f"{memory / 2**20:.0f}"] for size, speed, memory in tried]
    write_csv(report_dir(trainer) / "batch_size.csv", ["batch_size", "images_per_s", "memory_mib"], rows)
    log.info("data.batch_size=%d for this run: %s.", found, why)
    if found == given:
        return given
    datamodule.use_batch_size(found)
    task.set_batch_size(found)
    if not task.record.setting("lr_find"):
        log.info(
            "optimizer.lr stays as it is. Steps on %g times the images may bear a higher one: %.2g times with Adam "
            "and its kin (the square root; Malladi et al. 2022, arXiv 2205.10330), %g times with SGD (Goyal et al. "
            "2017, arXiv 1706.02677). lr_find=true tries it out.",
            found / given, math.sqrt(found / given), found / given,
        )  # fmt: skip
    return found


def begin_largest_phase(task: ScoresTask) -> None:
    def trained(index: int) -> int:
        task.begin_phase(index, 0)
        return sum(p.numel() for p in task.parameters() if p.requires_grad)

    task.begin_phase(max(range(len(task.phases)), key=trained), 0)


def random_batch(datamodule: ImageDataModule, size: int) -> Batch:
    """Random images of the size that the network sees, with labels of training images."""
    rows, side = np.resize(datamodule.table.splits["train"], size), datamodule.preprocessing.crop_px
    return {
        "image": torch.randint(256, (size, 3, side, side), dtype=torch.uint8),
        "label": torch.from_numpy(datamodule.table.labels[rows]),
    }


def seconds_of_step(
    task: ScoresTask, optimizer: Optimizer, scaler: GradScaler, batch: Batch, trainer: Trainer
) -> float:
    seconds = []
    for _ in range(1 + TIMED_STEPS):
        start = time.perf_counter()
        step(task, optimizer, scaler, [batch], trainer)
        if task.device.type == "cuda":
            torch.cuda.synchronize(task.device)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


# ------------------------------------------------------------------------------------------------------------- memory


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


# ------------------------------------------------------------------------------------------------------------- shared


@contextmanager
def rehearsal(task: ScoresTask, datamodule: ImageDataModule, trainer: Trainer) -> Iterator[ScoresTask]:
    """A copy of the task, on the trainer's device and in its precision, to train on and throw away.

    Random numbers are drawn as if it had never been.
    """
    network, attached = datamodule.frozen_network, datamodule.trainer
    with isolate_rng():
        torch.manual_seed(task.seed)
        copied = copy.deepcopy(task)  # without the trainer, and not compiled
        copied.trainer = trainer
        copied = trainer.precision_plugin.convert_module(copied).to(trainer.strategy.root_device)  # type: ignore[assignment]
        copied.train()
        datamodule.trainer = trainer  # which the data module knows of only from the fit on
        datamodule.train_on_features_of(None if network is None else copied)
        try:
            yield copied
        finally:
            datamodule.train_on_features_of(network)
            datamodule.trainer = attached


def build_optimizer(task: ScoresTask, trainer: Trainer) -> tuple[Optimizer, GradScaler]:
    """Of the current phase. The scaler scales nothing but float16's gradients."""
    return task.build_optimizer(), GradScaler(task.device.type, enabled=trainer.precision == "16-mixed")


def step(task: ScoresTask, optimizer: Optimizer, scaler: GradScaler, batches: list[Batch], trainer: Trainer) -> float:
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


def require_one_process(key: str, trainer: Trainer) -> None:
    if trainer.world_size > 1:
        raise ConfigError(one_process_only(key))


def report_dir(trainer: Trainer) -> Path:
    folder = Path(trainer.default_root_dir) / "report"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_csv(path: Path, columns: list[str], rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
