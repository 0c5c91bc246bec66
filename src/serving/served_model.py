"""What a model that is served can do, whatever file it comes from. No torch. Shapes: N images, H and W pixels."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from src.evaluation.found_objects import FoundObjects, joined
from src.evaluation.prediction import Outputs, Prediction
from src.serving.facts import ModelFacts
from src.serving.pixels import Pixels, Size
from src.settings.errors import ConfigError
from src.tasks.lookup import prediction_class

MOST_PIXELS = 2**21  # of an image from which an exported file makes masks of objects: 6 bytes for each object and pixel
PROBABILITY_SLACK = 1e-3  # of rounding in float16


class ServedModel(ABC):
    """A model that is ready to answer. `size_px` is the height and width of the images that it takes, or of a square
    one, where images keep their shape.
    """

    facts: ModelFacts
    size_px: int

    @abstractmethod
    def compute(self, images: Sequence[Pixels], sizes_wh: Sequence[Size]) -> Outputs:
        """The outputs for RGB images and the sizes of their files, as `read_pixels` gives them.

        Of objects: `boxes` float32 [N, D, 4] in pixels of the files, `scores` [N, D], and `labels` [N, D], -1 = none;
        with masks, float32 [N, D, S, S] in their boxes, or Crops [N, D].
        Of pixels: lists with `mask` uint8 [H, W] and `confidence` float32 of each image.
        """

    @cached_property
    def prediction(self) -> type[Prediction]:
        return prediction_class(self.facts.task)

    @property
    def choice(self) -> str:
        """What it predicts, in words."""
        return self.prediction.choice(self.facts.class_names)

    @property
    def takes_whole(self) -> bool:
        """Whether it resizes images itself and needs them whole, since its answers are as large as they are."""
        return False

    @property
    def finds_objects(self) -> bool:
        return issubclass(self.prediction, FoundObjects)

    @cached_property
    def output_names(self) -> list[str]:
        return list(self.prediction.output_shapes(self.facts.class_names))

    def answers(
        self, outputs: Outputs, abstain_below: float | None = None, top_k: int | None = None
    ) -> list[dict[str, Any]]:
        """Plain data for JSON, one answer per image, with the numbers of predictions.csv."""
        found = self.prediction.of(outputs, self.facts)
        return [prediction.abstaining(abstain_below).as_json(top_k) for prediction in found]

    def warm_up(self) -> None:
        """Answer for a black image, and for it and a grey one together: the first real one is not slower then.

        Where images keep their shape, the grey one is of another.

        Raises ConfigError if the outputs are not what the facts ask for: a model that cannot answer is told now.
        """
        side, other = self.size_px, self.size_px - (self.size_px // 4 if self.facts.preprocessing.keeps_shape else 0)
        images = [np.zeros((3, side, side), dtype=np.uint8), np.full((3, other, side), 128, dtype=np.uint8)]
        for count in (1, 2):
            outputs = self.compute(images[:count], [(side, side), (side, other)][:count])
            self.check(outputs, count)
            json.dumps(self.answers(outputs), allow_nan=False, ensure_ascii=False).encode()

    def check(self, outputs: Outputs, count: int) -> None:
        """Raise ConfigError unless these are right for so many images."""
        for name, shape in self.prediction.output_shapes(self.facts.class_names).items():
            if name not in outputs:
                raise ConfigError(f"'{self.facts.file}' gives {name} that cannot be served: serve its checkpoint.")
            if name == "masks" and outputs[name].dtype == object:
                continue  # Crops, whose masks were looked at before
            if self.prediction.of_pixels:  # there is one of each image, which may have any size
                faults = [fault_of(one, name, shape) for one in outputs[name]]
            else:
                faults = [fault_of(outputs[name], name, (count, *shape))]  # of -1 there may be any number
            if what := next(filter(None, faults), ""):
                raise ConfigError(f"'{self.facts.file}' answers {name} with {what}, so it cannot be served.")


class ExportedModel(ServedModel):
    """A file of src.export."""

    @abstractmethod
    def run(self, images_N3HW: Pixels) -> Outputs:
        """The file's outputs as they are. One that finds objects takes one image, and has `boxes` and `masks` in its
        pixels.
        """

    @property
    def takes_whole(self) -> bool:
        return "masks" in self.prediction.uses

    def compute(self, images: Sequence[Pixels], sizes_wh: Sequence[Size]) -> Outputs:
        if not (self.finds_objects or self.takes_whole):
            return self.run(np.stack(images))
        if self.finds_objects and self.takes_whole:
            images = [reduced(image) for image in images]
        found = [self.run(image[None]) for image in images]
        if self.prediction.of_pixels:
            return in_pixels_of(found, sizes_wh)
        for one, image in zip(found, images, strict=True):
            if "masks" in one and (one["masks"].shape[1:] != image.shape[1:] or one["masks"].dtype != np.uint8):
                raise ConfigError(f"'{self.facts.file}' answers with masks of other images: export it anew.")
        scales = [(w / image.shape[2], h / image.shape[1]) for image, (w, h) in zip(images, sizes_wh, strict=True)]
        return joined(found, scales, sizes_wh)


def reduced(image_3HW: Pixels) -> Pixels:
    """With at most MOST_PIXELS, since such a model makes a mask as large for each object."""
    height, width = image_3HW.shape[1:]
    if height * width <= MOST_PIXELS:
        return image_3HW
    factor = (MOST_PIXELS / (height * width)) ** 0.5
    size = max(1, int(width * factor)), max(1, int(height * factor))
    image = Image.fromarray(image_3HW.transpose(1, 2, 0)).resize(size, Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def in_pixels_of(found: Sequence[Outputs], sizes_wh: Sequence[Size]) -> Outputs:
    """The outputs [1, H, W] of several images as lists, masks in pixels of the files: large JPEGs come reduced."""
    outputs: Any = {name: [one[name][0] for one in found] for name in found[0]}
    for n, (mask_HW, size_wh) in enumerate(zip(outputs["mask"], sizes_wh, strict=True)):
        if mask_HW.shape != size_wh[::-1] and mask_HW.dtype == np.uint8:
            outputs["mask"][n] = np.asarray(Image.fromarray(mask_HW).resize(size_wh, Image.Resampling.NEAREST))
    return dict(outputs)


def fault_of(found: npt.NDArray[Any], name: str, shape: tuple[int, ...]) -> str:
    """What is wrong with an output; an empty string if nothing is."""
    if len(found.shape) != len(shape) or any(n not in (-1, m) for n, m in zip(shape, found.shape, strict=True)):
        return f"the shape {found.shape} where its class names ask for {shape}"
    kind = np.dtype(np.uint8 if name == "mask" else np.float32)
    if found.dtype != kind:
        return f"numbers of the type {found.dtype} where {kind} is asked for"
    if not np.isfinite(found).all():
        return "numbers that are not finite, for images of one colour"
    if name in ("probabilities", "scores", "confidence"):
        low, high = found.min(initial=0), found.max(initial=0)
        if low < -PROBABILITY_SLACK or high > 1 + PROBABILITY_SLACK:
            return f"{low:.3g} to {high:.3g} where {name} of 0 to 1 are asked for"
    return ""
