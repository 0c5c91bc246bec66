"""A learning rate for each phase, found by trying out many before it begins.

Tried on a copy of the task, so the run itself is as if nothing had been tried: weights, BatchNorm's statistics,
metrics, random numbers, order of the images. The checkpoints carry what was found, and a resumed run goes on with it.
"""

import itertools
import logging
import math
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from lightning import Trainer

from src.cli.progress import progress_bar
from src.data.dataset import Batch
from src.data.module import ImageDataModule
from src.files.csv_files import write_csv_file
from src.reports.charts import draw_range_test
from src.settings.errors import ConfigError
from src.settings.plurals import number_of
from src.settings.processes import one_process_only
from src.training.task import FineTuneTask
from src.training.tuning.rehearsal import optimizer_and_scaler, rehearsal, report_dir, step, training_batches

log = logging.getLogger(__name__)

Curve = npt.NDArray[np.float64]

RATES = np.geomspace(1e-6, 10, 100)  # of the steps of a range test: 14 a decade
SMOOTHING_STEPS = 3.0  # standard deviation of the window that the losses are averaged over
DIVERGED = 4.0  # times the lowest smoothed loss, and above the first one: where a test ends
MIN_FALL = 2.0  # times the standard deviation of the losses around their smoothed course; less is chance
FALL_SHARE = 0.9  # of the fall to the lowest smoothed loss, at which the suggestion lies


def find_rate(task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer) -> float | None:
    """The rate that a range test suggests for the task's current phase; the test is written into report/.

    Range test: Smith 2017, arXiv 1506.01186, section 3.3. None where the loss never falls: the phase keeps its rate.
    """
    if trainer.world_size > 1:
        raise ConfigError(one_process_only("lr_find"))
    start, phase, name = time.perf_counter(), task.phase, f"phase_{task.phase_index + 1}"
    with rehearsal(task, datamodule, trainer) as copied:
        given = optimizer_and_scaler(copied, trainer)[0].defaults["lr"]
        rates, losses = range_test(copied, training_batches(datamodule, trainer), trainer)
    smoothed = smooth(losses)
    found, why = suggest(rates, losses)
    report = report_dir(trainer)
    rows = [[f"{value:.6g}" for value in row] for row in zip(rates, losses, smoothed, strict=True)]
    write_csv_file(report / f"lr_find_{name}.csv", ["lr", "loss", "smoothed"], rows)
    title = f"Phase {task.phase_index + 1} (train: {phase.train}): {why}"
    draw_range_test(rates, losses, smoothed, given, found, title).save(report / f"lr_find_{name}.png")
    what = f"lr_find: {number_of(len(losses), 'step')} in {time.perf_counter() - start:.0f} s"
    if found is None:
        log.warning("%s. %s: the rate of this phase stays %g.", what, why, given)
        return None
    log.info("%s. %s. The rate of this phase becomes %g (without lr_find: %g).", what, why, found, given)
    return found


def range_test(task: FineTuneTask, batches: Iterator[Batch], trainer: Trainer) -> tuple[Curve, Curve]:
    """Rates and losses of steps that grow until the loss has diverged; they train `task`.

    The rate is that of the phase: each group of parameters has its share of it, as in training.
    """
    optimizer, scaler = optimizer_and_scaler(task, trainer)
    losses: list[float] = []
    with progress_bar() as progress:
        bar = progress.add_task("find the rate", total=len(RATES), speed="", loss="")
        for rate in RATES:
            for group in optimizer.param_groups:
                group["lr"] = float(rate) * group["lr_scale"]
            accumulated = list(itertools.islice(batches, trainer.accumulate_grad_batches))
            loss = step(task, optimizer, scaler, accumulated, trainer)
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
