"""What exported files are worth beside their checkpoint, on test images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from src.cli.progress import progress_bar
from src.evaluation.prediction import Outputs
from src.exporting.parity import Reference, joined
from src.exporting.run import Runner
from src.models.preprocessing import Preprocessing
from src.settings.plurals import number_of
from src.tasks.lookup import part_of
from src.training.task import FineTuneTask


class Comparison:
    """Counts the answers of the checkpoint and of exported files, `runs` by name, on the same images."""

    def __init__(self, task: FineTuneTask, preprocessing: Preprocessing, runs: dict[str, Runner]) -> None:
        self.reference, self.runs = Reference(task, preprocessing), runs
        self.answers: dict[str, list[Outputs]] = {"checkpoint": [], **{name: [] for name in runs}}
        self.sizes_wh: list[tuple[int, int]] = []
        self.labels: Any = None

    def count(self, images: Sequence[Image.Image], labels: Any) -> None:
        """Once, all images, and what Targets.labels has of them, or None: nothing is then measured against them."""
        self.labels, self.sizes_wh = labels, [image.size for image in images]
        with progress_bar() as progress:
            bar = progress.add_task("measure", total=len(images), speed="", loss="")
            for n, image in enumerate(images):
                expected = self.reference.outputs([image])
                self.keep("checkpoint", expected, expected, n)
                for name, run in self.runs.items():
                    self.keep(name, expected, self.reference.outputs_of(run, [image]), n)
                progress.update(bar, advance=1)

    def keep(self, name: str, expected: Outputs, found: Outputs, n: int) -> None:
        self.answers[name].append(self.reference.task.digest(expected, found, self.labels, n))

    def rows(self) -> dict[str, dict[str, float]]:
        """For each name the task's metrics (if there are labels), agreement with the checkpoint, largest difference."""
        answers, rows = {name: joined(parts) for name, parts in self.answers.items()}, {}
        for name, found in answers.items():
            same, difference = self.reference.task.compare(answers["checkpoint"], found)
            parts_N = self.reference.task.shares_alike(found)
            agreement = same / len(self.answers[name]) if parts_N is None else float(parts_N.mean())
            rows[name] = {**self.metrics(found), "agreement": agreement, "difference": difference}
        return rows

    def metrics(self, found: Outputs) -> dict[str, float]:
        """The few of those that src.evaluate prints that the task names for it."""
        if self.labels is None:
            return {}
        task = self.reference.task
        values = task.metrics_of(found, self.labels, torch.tensor(self.sizes_wh))
        main = part_of(task.record.task_name, "report").EXPORTED
        return {key: float(values[key]) for key in (f"test/{name}" for name in main)}


def print_table(compared: Comparison, split: str, checkpoints: Sequence[Path], parts: dict[str, Path]) -> None:
    """One line for the checkpoint and each file. Several checkpoints answer together; `split` says which images it was,
    if they were one.
    """
    rows = compared.rows()
    files = {"checkpoint": checkpoints, **{name: [part] for name, part in parts.items()}}
    images = len(compared.answers["checkpoint"])
    names = [name.removeprefix("test/") for name in [*rows["fp32"], "MB"]]
    print(f"{number_of(images, f'{split} image'):20s} " + " ".join(f"{name:>12s}" for name in names))
    for name, row in rows.items():
        numbers = [f"{value:12.2e}" if key == "difference" else f"{value:12.4f}" for key, value in row.items()]
        megabytes = sum(file.stat().st_size for file in files[name]) / 1e6
        print(f"{name:20s} {' '.join(numbers)} {megabytes:12.2f}")
