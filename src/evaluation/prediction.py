"""What a model says about one image: what the module `prediction` of every task has to offer. No torch.

Made from the named outputs that the network and an exported file give alike, so that whoever shows, writes, sends or
compares predictions needs to know neither the task nor where the outputs come from.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from src.evaluation.label_errors import Suspect

if TYPE_CHECKING:
    from PIL import Image

Floats = npt.NDArray[np.float32]
Outputs = Mapping[str, Floats]  # by name; the first axis is the image
COLUMNS = ("path", "label", "ood_score", "error")  # of the csv files, whatever the model predicts
TOLERANCE = 1e-3  # of a number, in units, in predictions that count as the same
TIE = 1e-4  # probabilities and thresholds that are nearer to each other may change places in the same prediction


class PredictionFacts(Protocol):
    """What has to be known of a model, beside its outputs: names of classes or targets, in the order of the outputs,
    and the thresholds of the probabilities, where the task has such (None = 0.5).
    """

    @property
    def class_names(self) -> list[str]: ...
    @property
    def thresholds(self) -> list[float] | None: ...


class Prediction(ABC):
    """Of one image.

    `numbers`: what is compared with another prediction of the same image. `ood_score`: the higher, the less the image
    looks like those of the training; None if the task has none.
    """

    needed_columns: ClassVar[tuple[str, ...]] = ()  # without which `read` finds no prediction in a row
    # What src.compare reads: report/<split>_<compared>.csv, with a row per image and these columns beside path, label.
    compared: ClassVar[str] = "predictions"
    compared_columns: ClassVar[tuple[str, ...] | None] = None  # None = needed_columns
    error_words: ClassVar[str] = ""  # what an error is, where it is not just right or wrong
    can_abstain: ClassVar[bool] = False
    says_where: ClassVar[bool] = False  # so that it can be `drawn`
    of_pixels: ClassVar[bool] = False  # an answer for each pixel, so outputs are as large as the image
    # Settings of src.predict that not every kind of prediction can follow; `output` stands for COCO results.
    uses: ClassVar[frozenset[str]] = frozenset()
    nothing_found: ClassVar[str] = ""  # what is told where every prediction `is_empty`
    no_heat_maps: ClassVar[str] = ""  # why src.explain has none, and what shows more
    numbers: Floats
    ood_score: float | None

    @classmethod
    @abstractmethod
    def of(cls, outputs: Outputs, facts: PredictionFacts) -> list[Self]:
        """One prediction per image."""

    @classmethod
    @abstractmethod
    def output_shapes(cls, class_names: list[str]) -> dict[str, tuple[int, ...]]:
        """The outputs of a model by name, in the order of an exported file, with the shape of one image's."""

    @classmethod
    def named(cls, arrays: Sequence[npt.NDArray[Any]], class_names: list[str]) -> Outputs:
        """What an exported file answered, by name and with the image as the first axis."""
        return dict(zip(cls.output_shapes(class_names), arrays, strict=True))

    @classmethod
    @abstractmethod
    def columns(cls, class_names: list[str], wide: bool = True) -> list[str]:
        """Of the csv files, behind the image's path (and label). `wide`: with a column per class."""

    @classmethod
    @abstractmethod
    def choice(cls, class_names: list[str]) -> str:
        """What is predicted, in words: `one of 3 classes`."""

    @classmethod
    @abstractmethod
    def read(cls, row: Mapping[str, str]) -> Self:
        """The answer alone, of a row of a csv file. Raises ValueError if it has no number where one is needed."""

    @classmethod
    def read_outputs(cls, rows: Sequence[Mapping[str, str]], class_names: list[str]) -> Outputs | None:
        """The outputs of which these rows of a csv file were written, as exactly as they are there; None if they do not
        say them. Raises ValueError as `read`.
        """
        return None

    @classmethod
    def compared_answer(cls, row: Mapping[str, str]) -> tuple[str, float]:
        """Of a row that src.compare reads, the answer in words, and how wrong it is. Raises ValueError as `read`."""
        prediction = cls.read(row)
        return prediction.words, prediction.error(row["label"])

    @classmethod
    def numbers_in(cls, row: Mapping[str, str]) -> dict[str, float]:
        """Of a row of a csv file, by class or target; empty if it has none. Raises ValueError for what is no number."""
        return {}

    @classmethod
    def suspects(
        cls, labels: Sequence[str], names: list[str], numbers_NK: npt.NDArray[np.float64], every: bool
    ) -> list[Suspect]:
        """The labels that are probably wrong, the worst first, by numbers as of `numbers_in` for the `names`.

        They come from models that were not trained on these images. `every`: all labels that are not what the models
        answer. Raises ValueError if a label is none of `names`, or no number.
        """
        raise NotImplementedError

    @property
    def doubt(self) -> float | None:
        """How unsure the answer is, 0..1, to choose what is worth a label; None if the task does not say."""
        return None

    @classmethod
    def drawn(cls, image: "Image.Image", size_wh: tuple[int, int], rows: Sequence[Mapping[str, str]]) -> "Image.Image":
        """An image, scaled down from this size, with what its rows of predictions.csv say is where in it.

        Raises ValueError as `read`.
        """
        raise NotImplementedError

    def drawn_on(self, image: "Image.Image") -> "Image.Image":
        """The whole upright image with what is said about its places: a copy, enlarged if it is small."""
        raise NotImplementedError

    def as_mask(self) -> "Image.Image":
        """What is said about each pixel of the whole upright image, as numbers of a PNG's pixels."""
        raise NotImplementedError

    @classmethod
    def mask_labels(cls, class_names: list[str]) -> list[str]:
        """What the numbers of masks mean, as lines of CVAT's labelmap.txt: `name:red,green,blue::`, from 0 on."""
        return []

    @classmethod
    def palette(cls, class_names: list[str]) -> list[list[int]] | None:
        """The colours of the classes in masks, RGB; None if there are no masks."""
        return None

    @property
    def is_empty(self) -> bool:
        """Whether it says that there is nothing."""
        return False

    @abstractmethod
    def rows(self) -> list[dict[str, str]]:
        """The texts of `columns`, but for error: of most tasks one row."""

    @abstractmethod
    def as_json(self, top_k: int | None = None) -> dict[str, Any]:
        """Plain data with the numbers of `rows`; of scores of classes only the `top_k` highest."""

    @property
    @abstractmethod
    def answer(self) -> str:
        """What is predicted, without how sure that is."""

    @property
    @abstractmethod
    def words(self) -> str:
        """The answer with its numbers, for people."""

    @abstractmethod
    def error(self, label: str) -> float:
        """How wrong it is, 0 = right; the label is a text as in the csv files. Raises ValueError if it is none."""

    @abstractmethod
    def to_explain(self, wanted: int | None) -> list[int]:
        """The classes or targets whose places in the image are to be shown: the wanted one, or what is predicted."""

    @abstractmethod
    def explained(self, index: int) -> dict[str, str]:
        """Columns of a row about one explained class or target: what is predicted, and what is explained."""

    def abstaining(self, below: float | None) -> Self:
        """Without an answer if the confidence is below this."""
        return self

    def same_as(self, other: Self, unit: Floats) -> bool:
        """Whether `other`, of a copy of this model, predicts the same, in units; not for tasks that compare outputs."""
        raise NotImplementedError

    def difference(self, other: Self, unit: Floats) -> float:
        """The largest of any number, in units."""
        return float((np.abs(self.numbers - other.numbers) / unit).max())


def finite(number: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return number if math.isfinite(number) else None
