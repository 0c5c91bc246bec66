"""The loss of the settings, weighted by class."""

import inspect
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from src.settings.errors import ConfigError
from src.training.losses import class_weights


def build_loss(node: DictConfig, labels: npt.NDArray[Any] | None, num_classes: int) -> nn.Module:
    """The loss, weighted by class if `loss.class_weights` says so. Raises ConfigError if it cannot be.

    Without `labels`, those of the training images, weights and counts of classes are ones: a checkpoint has them.
    """
    settings = cast(dict[str, Any], OmegaConf.to_container(node, resolve=True))
    settings.pop("targets", None)  # for src/settings/check.py
    kind = settings.pop("class_weights", None)
    accepted = inspect.signature(get_object(settings["_target_"])).parameters
    if "class_counts" in accepted:
        counts = np.ones(num_classes) if labels is None else np.bincount(labels, minlength=num_classes)
        settings["class_counts"] = torch.from_numpy(counts)
    if kind is not None:
        name = next((name for name in ("pos_weight", "weight") if name in accepted), None)
        if name is None:
            raise ConfigError(f"loss.class_weights={kind}: {settings['_target_']} takes no weights of classes.")
        settings[name] = torch.ones(num_classes) if labels is None else class_weights(kind, labels, num_classes)
    loss = instantiate(settings, _convert_="all")
    assert isinstance(loss, nn.Module)
    return loss
