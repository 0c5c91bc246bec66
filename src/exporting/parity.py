"""Whether an exported file answers as its checkpoint does, and what it is worth on test images.

Shapes: N images, K classes or targets.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from src.cli.progress import progress_bar
from src.data.transforms import evaluation_transform
from src.exporting.images import to_array
from src.exporting.run import Runner
from src.models.preprocessing import Preprocessing
from src.settings.errors import RunStopped
from src.tasks.multilabel.task import MultilabelTask
from src.tasks.regression.task import RegressionTask
from src.training.scores_task import ScoresTask

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
TOLERANCE = 1e-3  # of a probability, or of a number in standard deviations of the training labels
TIE = 1e-4  # answers that are nearer to each other than this may differ


def check_parity(
    run: Runner, task: ScoresTask, preprocessing: Preprocessing, images: Sequence[Image.Image], output: Path
) -> None:
    """Compare on images one by one, and on some batches. Raises RunStopped if any answer differs."""
    batches = [[image] for image in images]
    batches += [[image, ImageOps.mirror(image), ImageOps.flip(image)] for image in images[-4:]]
    largest, different, count = 0.0, 0, 0
    for batch in batches:
        expected_NK = reference(task, preprocessing, batch)
        found_NK = run(np.stack([to_array(image) for image in batch]))[0]
        if found_NK.shape != expected_NK.shape or not np.isfinite(found_NK).all():
            raise RunStopped(f"{output} was not written: its answers are {found_NK.shape} or not finite.")
        largest = max(largest, difference(task, expected_NK, found_NK))
        different += int((~same_answers(task, expected_NK, found_NK)).sum())
        count += len(batch)
    unit = "standard deviations of the labels" if isinstance(task, RegressionTask) else "in a probability"
    text = (
        f"{count - different} of {count} answers as the checkpoint's, largest difference {largest:.1e} {unit} "
        f"(allowed: all, and {TOLERANCE:g})"
    )
    if different or largest > TOLERANCE:
        raise RunStopped(f"{output} was not written, since it answers otherwise than the checkpoint: {text}.")
    log.info("Parity: %s", text)


def reference(task: ScoresTask, preprocessing: Preprocessing, images: Sequence[Image.Image]) -> Floats:
    """What src.predict says: probabilities float32 [N, K], or numbers [N, T]."""
    transform = evaluation_transform(preprocessing)
    with torch.inference_mode():
        outputs_NK = task(torch.stack([transform(image) for image in images]))
        answers_NK: Tensor = (
            task.values(outputs_NK) if isinstance(task, RegressionTask) else task.probabilities(outputs_NK)
        )
    found: Floats = answers_NK.numpy()
    return found


def difference(task: ScoresTask, expected_NK: Floats, found_NK: Floats) -> float:
    """The largest, in a probability or in standard deviations of the labels."""
    distance_NK = np.abs(expected_NK - found_NK)
    if isinstance(task, RegressionTask):
        distance_NK = distance_NK / task.std_T.numpy()
    return float(distance_NK.max())


def same_answers(task: ScoresTask, expected_NK: Floats, found_NK: Floats) -> npt.NDArray[np.bool_]:
    """[N]: whether the likeliest class is the same, or all that are shown; of numbers, whether they are near."""
    if isinstance(task, RegressionTask):
        near_N: npt.NDArray[np.bool_] = (np.abs(expected_NK - found_NK) <= TOLERANCE * task.std_T.numpy()).all(axis=1)
        return near_N
    if isinstance(task, MultilabelTask):
        thresholds_K = task.calibrated_thresholds().numpy()
        same_NK = (expected_NK >= thresholds_K) == (found_NK >= thresholds_K)
        shown_N: npt.NDArray[np.bool_] = (same_NK | (np.abs(expected_NK - thresholds_K) < TIE)).all(axis=1)
        return shown_N
    chosen_N = np.take_along_axis(expected_NK, found_NK.argmax(axis=1)[:, None], axis=1)[:, 0]
    best_N: npt.NDArray[np.bool_] = chosen_N >= expected_NK.max(axis=1) - TIE
    return best_N


class Comparison:
    """Counts the answers of the checkpoint and of exported files on the same images.

    Args:
        runs: the files by name.
    """

    def __init__(self, task: ScoresTask, preprocessing: Preprocessing, runs: dict[str, Runner]) -> None:
        self.task, self.preprocessing, self.runs = task, preprocessing, runs
        self.answers: dict[str, list[Floats]] = {"checkpoint": [], **{name: [] for name in runs}}
        self.labels: list[Any] = []

    def count(self, images: Sequence[tuple[Image.Image, Any]]) -> None:
        """Images with their labels; labels may be None, and nothing is then measured against them."""
        with progress_bar() as progress:
            bar = progress.add_task("measure", total=len(images), speed="", loss="")
            for image, label in images:
                self.answers["checkpoint"].append(reference(self.task, self.preprocessing, [image]))
                for name, run in self.runs.items():
                    self.answers[name].append(run(to_array(image)[None])[0])
                if label is not None:
                    self.labels.append(label)
                progress.update(bar, advance=1)

    def rows(self) -> dict[str, dict[str, float]]:
        """For each name the task's metrics (if there are labels), agreement with the checkpoint, largest difference."""
        expected_NK = np.concatenate(self.answers["checkpoint"])
        rows = {}
        for name, parts in self.answers.items():
            found_NK = np.concatenate(parts)
            rows[name] = {
                **self.metrics(found_NK),
                "agreement": float(same_answers(self.task, expected_NK, found_NK).mean()),
                "difference": difference(self.task, expected_NK, found_NK),
            }
        return rows

    def metrics(self, answers_NK: Floats) -> dict[str, float]:
        """Those that src.evaluate prints and that matter most."""
        if not self.labels:
            return {}
        outputs_NK = to_outputs(self.task, torch.from_numpy(answers_NK))
        self.task.update_metrics("test", outputs_NK, torch.from_numpy(np.stack(self.labels)))
        values = self.task.compute_metrics("test")
        wanted = [name for name in ("test/acc", "test/map", "test/f1_macro", "test/mae", "test/rmse") if name in values]
        return {name: float(values[name]) for name in wanted}


def to_outputs(task: ScoresTask, answers_NK: Tensor) -> Tensor:
    """The network's outputs (logits up to a constant) of which these answers were made."""
    if isinstance(task, RegressionTask):
        return task.to_targets(answers_NK)
    shares_NK = answers_NK.clamp(1e-7, 1 - 1e-7)
    logits_NK = torch.logit(shares_NK) if isinstance(task, MultilabelTask) else torch.log(shares_NK)
    return logits_NK * task.temperature


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
