"""Whether an exported file answers as its checkpoint does, what it is worth on test images, and how long it takes."""

import logging
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from src.cli.progress import progress_bar
from src.data.transforms import evaluation_transform
from src.evaluation.prediction import TOLERANCE, Outputs
from src.exporting.graph import ExportedModel, quiet
from src.exporting.images import to_array
from src.exporting.run import Runner
from src.models.preprocessing import Preprocessing
from src.settings.errors import RunStopped, first_line
from src.tasks.lookup import part_of
from src.training.task import FineTuneTask

log = logging.getLogger(__name__)

Images = Sequence[Image.Image]


class Reference:
    """What the checkpoint says about images, and how far from it a file's outputs are."""

    def __init__(self, task: FineTuneTask, preprocessing: Preprocessing) -> None:
        self.task, self.layer = task, task.output_layer()
        self.names = list(task.prediction.output_shapes(task.class_names))
        self.transform = evaluation_transform(preprocessing)

    def outputs(self, images: Images) -> Outputs:
        """As src.predict computes them."""
        with torch.inference_mode():
            return self.layer.arrays(self.task(torch.stack([self.transform(image) for image in images])))

    def outputs_of(self, run: Runner, images: Images) -> Outputs:
        """Of an exported file, for images of one size."""
        found = run(np.stack([to_array(image) for image in images]))
        return dict(zip(self.names, found, strict=True))

    def compare(self, expected: Outputs, found: Outputs) -> tuple[int, float]:
        """How many predictions are the same, and the largest difference, in the layer's unit."""
        both = [self.task.prediction.of(outputs, self.layer) for outputs in (expected, found)]
        pairs, unit = list(zip(*both, strict=True)), self.layer.unit
        return sum(one.same_as(other, unit) for one, other in pairs), max(a.difference(b, unit) for a, b in pairs)


def check_parity(run: Runner, task: FineTuneTask, preprocessing: Preprocessing, images: Images, output: Path) -> None:
    """Compare on images one by one, and on some batches. Raises RunStopped if any answer differs."""
    reference = Reference(task, preprocessing)
    batches = [[image] for image in images]
    batches += [[image, ImageOps.mirror(image), ImageOps.flip(image)] for image in images[-4:]]
    largest, same, count = 0.0, 0, 0
    for batch in batches:
        expected, found = reference.outputs(batch), reference.outputs_of(run, batch)
        first = found[reference.names[0]]
        if first.shape != expected[reference.names[0]].shape or not np.isfinite(first).all():
            raise RunStopped(f"{output} was not written: its answers are {first.shape} or not finite.")
        alike, difference = reference.compare(expected, found)
        largest, same, count = max(largest, difference), same + alike, count + len(batch)
    text = (
        f"{same} of {count} answers as the checkpoint's, largest difference {largest:.1e} {reference.layer.unit_text} "
        f"(allowed: all, and {TOLERANCE:g})"
    )
    if same < count or largest > TOLERANCE:
        raise RunStopped(f"{output} was not written, since it answers otherwise than the checkpoint: {text}.")
    log.info("Parity: %s", text)


class Comparison:
    """Counts the answers of the checkpoint and of exported files, `runs` by name, on the same images."""

    def __init__(self, task: FineTuneTask, preprocessing: Preprocessing, runs: dict[str, Runner]) -> None:
        self.reference, self.runs = Reference(task, preprocessing), runs
        self.answers: dict[str, list[Outputs]] = {"checkpoint": [], **{name: [] for name in runs}}
        self.labels: list[Any] = []

    def count(self, images: Sequence[tuple[Image.Image, Any]]) -> None:
        """Images with their labels; labels may be None, and nothing is then measured against them."""
        with progress_bar() as progress:
            bar = progress.add_task("measure", total=len(images), speed="", loss="")
            for image, label in images:
                self.answers["checkpoint"].append(self.reference.outputs([image]))
                for name, run in self.runs.items():
                    self.answers[name].append(self.reference.outputs_of(run, [image]))
                if label is not None:
                    self.labels.append(label)
                progress.update(bar, advance=1)

    def rows(self) -> dict[str, dict[str, float]]:
        """For each name the task's metrics (if there are labels), agreement with the checkpoint, largest difference."""
        answers, rows = {name: joined(parts) for name, parts in self.answers.items()}, {}
        for name, found in answers.items():
            same, difference = self.reference.compare(answers["checkpoint"], found)
            shares = {"agreement": same / len(self.answers[name]), "difference": difference}
            rows[name] = {**self.metrics(found), **shares}
        return rows

    def metrics(self, found: Outputs) -> dict[str, float]:
        """The few of those that src.evaluate prints that the task names for it."""
        if not self.labels:
            return {}
        task = self.reference.task
        values = task.metrics_of(self.reference.layer.undo(found), torch.from_numpy(np.stack(self.labels)))
        main = part_of(task.record.task_name, "report").EXPORTED
        return {key: float(values[key]) for key in (f"test/{name}" for name in main)}


def joined(parts: Sequence[Outputs]) -> Outputs:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def print_table(compared: Comparison, split: str, checkpoint: Path, parts: dict[str, Path]) -> None:
    """One line for the checkpoint and each file; `split` says which images it was, if they were one."""
    rows = compared.rows()
    files = {"checkpoint": checkpoint, **parts}
    images = len(compared.answers["checkpoint"])
    names = [name.removeprefix("test/") for name in [*rows["fp32"], "MB"]]
    print(f"{f'{images} {split} images':20s} " + " ".join(f"{name:>12s}" for name in names))
    for name, row in rows.items():
        numbers = [f"{value:12.2e}" if key == "difference" else f"{value:12.4f}" for key, value in row.items()]
        print(f"{name:20s} {' '.join(numbers)} {files[name].stat().st_size / 1e6:12.2f}")


BATCHES = (1, 32)
ROUNDS = 7  # alternated, so that another load on the machine meets all of them
SECONDS = 0.3  # at least, a round and file


def print_latency(model: ExportedModel, runs: dict[str, Runner], size_px: int) -> None:
    """Milliseconds a batch, preprocessing included, of square images of `size_px`: the median of the rounds."""
    print(f"ms per batch, {size_px} x {size_px} pixels, {torch.get_num_threads()} threads")
    for batch in BATCHES:
        images_NCHW = np.random.default_rng(0).integers(0, 256, (batch, 3, size_px, size_px), dtype=np.uint8)
        images = torch.from_numpy(images_NCHW)
        candidates: dict[str, Callable[[], object]] = {"torch eager": partial(model, images)}
        if (compiled := try_compile(model, images)) is not None:
            candidates["torch compiled"] = partial(compiled, images)
        candidates |= {f"file {name}": partial(run, images_NCHW) for name, run in runs.items()}
        with torch.no_grad():
            times = {name: [time_once(call)] for name, call in candidates.items()}
            for _ in range(ROUNDS):
                for name, call in candidates.items():
                    times[name].append(time_once(call))
        for name, seconds in times.items():
            print(f"batch {batch:2d}  {name:16s} {1000 * statistics.median(seconds[1:]):9.2f}")


def time_once(call: Callable[[], object]) -> float:
    """Seconds a call, over as many calls as fill a round."""
    start, calls = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < SECONDS or not calls:
        call()
        calls += 1
    return elapsed / calls


def try_compile(model: ExportedModel, images: torch.Tensor) -> Callable[[torch.Tensor], object] | None:
    """The compiled model, compiled; None, with a word about it, where there is no compiler."""
    compiled = torch.compile(model)
    try:
        with quiet(), torch.no_grad():
            compiled(images)
    except Exception as error:
        print(f"torch.compile does not work here: {first_line(error)[:150]}")
        return None
    return compiled
