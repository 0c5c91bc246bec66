"""Whether an exported file answers as its checkpoint does."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from src.data.transforms import evaluation_transform
from src.evaluation.prediction import TOLERANCE, Outputs
from src.exporting.images import to_array
from src.exporting.run import Runner
from src.models.preprocessing import Preprocessing
from src.settings.errors import RunStopped
from src.training.task import FineTuneTask

log = logging.getLogger(__name__)

Images = Sequence[Image.Image]


class Reference:
    """What the checkpoint says about images, and an exported file."""

    def __init__(self, task: FineTuneTask, preprocessing: Preprocessing) -> None:
        self.task, self.layer = task, task.output_layer()
        self.transform = evaluation_transform(preprocessing)

    def outputs(self, images: Images) -> Outputs:
        """As src.predict computes them, of images of one size, in whose pixels places are."""
        with torch.inference_mode():
            outputs = self.task(torch.stack([self.transform(image) for image in images]))
            return self.layer.arrays(self.task.placed(outputs, torch.tensor([image.size for image in images])))

    def outputs_of(self, run: Runner, images: Images) -> Outputs:
        """Of an exported file, for images of one size."""
        found = run(np.stack([to_array(image) for image in images]))
        return self.task.prediction.named(found, self.task.class_names)

    def is_fit(self, found: Outputs, count: int) -> bool:
        """Whether the outputs of so many images are finite and have their shapes."""
        for name, shape in self.task.prediction.output_shapes(self.task.class_names).items():
            if found[name].dtype == object:  # what `named` made of whole masks
                continue
            sides = found[name].shape
            own = [side if side >= 0 else sides[axis] for axis, side in enumerate(shape, 1)] if sides[1:] else []
            wanted = (count, *own) if len(sides) > len(shape) else None
            if sides != wanted or not np.isfinite(found[name]).all():
                return False
        return True


def check_parity(
    run: Runner, task: FineTuneTask, preprocessing: Preprocessing, images: Images, output: Path, takes_one: bool
) -> None:
    """Compare on images one by one, and on some batches unless the file `takes_one`.

    Raises RunStopped if any answer differs.
    """
    reference = Reference(task, preprocessing)
    batches = [[image] for image in images]
    if not takes_one:
        batches += [[image, ImageOps.mirror(image), ImageOps.flip(image)] for image in images[-4:]]
    answers: list[tuple[Outputs, Outputs]] = []
    for batch in batches:
        expected, found = reference.outputs(batch), reference.outputs_of(run, batch)
        if not reference.is_fit(found, len(batch)):
            shapes = ", ".join(f"{name} {value.shape}" for name, value in found.items())
            raise RunStopped(f"{output} was not written: its answers are {shapes} or not finite.")
        answers.append((task.digest(expected, expected), task.digest(expected, found)))
    count, (expected, found) = sum(map(len, batches)), map(joined, zip(*answers, strict=True))
    same, largest = task.compare(expected, found)
    text = (
        f"{same} of {count} answers as the checkpoint's, largest difference {largest:.1e} {reference.layer.unit_text} "
        f"(allowed: all, and {TOLERANCE:g})"
    )
    if (shares_N := task.shares_alike(found)) is not None:
        text += f"; of each at least {math.floor(shares_N.min() * 1e5) / 1e3:g} % are the same"
    if same < count or largest > TOLERANCE:
        raise RunStopped(f"{output} was not written, since it answers otherwise than the checkpoint: {text}.")
    log.info("Parity: %s", text)


def joined(parts: Sequence[Outputs]) -> Outputs:
    """Of all images. Where they have different numbers of rows (boxes), what is missing is -1, which is no class."""
    together = {}
    for name, first in parts[0].items():
        arrays = [part[name] for part in parts]
        if first.ndim > 1:
            most = max(array.shape[1] for array in arrays)
            beyond = [[(0, 0), (0, most - array.shape[1])] + [(0, 0)] * (first.ndim - 2) for array in arrays]
            pairs = zip(arrays, beyond, strict=True)
            arrays = [np.pad(array, width, constant_values=-1) for array, width in pairs]
        together[name] = np.concatenate(arrays)
    return together
