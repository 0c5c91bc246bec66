"""The labels of a set with classes of its own as a trained model counts them. Imports no torch."""

import numpy as np
import numpy.typing as npt

from src.data.folders.listing import listed
from src.data.folders.split_names import same_text
from src.data.targets import Classes
from src.settings.errors import ConfigError


def as_known(setting: str, labels_N: npt.NDArray[np.int64], class_names: list[str], known: list[str] | None) -> Classes:
    """The classes of the images, among those that a model knows, in its order. Names decide.

    Raises ConfigError if the model lacks some of the classes.

    Args:
        setting: that names the set, and its value, for messages.
        labels_N: indices into class_names.
        class_names: of the set.
        known: of the model; None = there is none, and nothing changes.
    """
    if known is None:
        return Classes(labels_N, class_names)
    index_of = {same_text(name): index for index, name in enumerate(known)}
    if unknown := [name for name in class_names if same_text(name) not in index_of]:
        raise ConfigError(
            f"{setting} has classes that the model lacks: {listed(unknown)}. The model knows: {listed(known)}."
        )
    index_K = np.array([index_of[same_text(name)] for name in class_names], dtype=np.int64)
    return Classes(index_K[labels_N], known)
