"""What a model that is served can do, whatever file it comes from. No torch. Shapes: N images, H and W pixels."""

import json
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from src.evaluation.prediction import Outputs, Prediction
from src.serving.facts import ModelFacts
from src.serving.pixels import Pixels
from src.settings.errors import ConfigError
from src.tasks.lookup import prediction_class

PROBABILITY_SLACK = 1e-3  # of rounding in float16


class ServedModel(ABC):
    """A model that is ready to answer. `size_px` is the height and width of the images that it takes."""

    facts: ModelFacts
    size_px: int

    @abstractmethod
    def compute(self, images_N3HW: Pixels) -> Outputs:
        """The outputs for RGB images, as `read_pixels` gives them."""

    @cached_property
    def prediction(self) -> type[Prediction]:
        return prediction_class(self.facts.task)

    @property
    def choice(self) -> str:
        """What it predicts, in words."""
        return self.prediction.choice(self.facts.class_names)

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

        Raises ConfigError if the outputs are not what the facts ask for: a model that cannot answer is told now.
        """
        grey_N3HW = np.zeros((2, 3, self.size_px, self.size_px), dtype=np.uint8)
        grey_N3HW[1] = 128
        for count in (1, 2):
            outputs = self.compute(grey_N3HW[:count])
            self.check(outputs, count)
            json.dumps(self.answers(outputs), allow_nan=False, ensure_ascii=False).encode()

    def check(self, outputs: Outputs, count: int) -> None:
        """Raise ConfigError unless these are right for so many images."""
        for name, shape in self.prediction.output_shapes(self.facts.class_names).items():
            if what := fault_of(outputs[name], name, (count, *shape)):
                raise ConfigError(f"'{self.facts.file}' answers {name} with {what}, so it cannot be served.")


def fault_of(found: npt.NDArray[Any], name: str, shape: tuple[int, ...]) -> str:
    """What is wrong with an output; an empty string if nothing is."""
    if found.shape != shape:
        return f"the shape {found.shape} where its class names ask for {shape}"
    if found.dtype != np.float32:
        return f"numbers of the type {found.dtype} where float32 is asked for"
    if not np.isfinite(found).all():
        return "numbers that are not finite, for images of one colour"
    if name == "probabilities" and (found.min() < -PROBABILITY_SLACK or found.max() > 1 + PROBABILITY_SLACK):
        return f"{found.min():.3g} to {found.max():.3g} where probabilities are asked for"
    return ""
