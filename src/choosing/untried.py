"""Candidates without a result: why, and how to get it."""

from dataclasses import dataclass
from urllib.error import HTTPError

from torchvision.models import WeightsEnum

from src.choosing.candidates import Candidate
from src.models.weights import downloaded_from, find_weights
from src.settings.errors import ConfigError
from src.settings.options import options_of


@dataclass(frozen=True)
class Untried:
    """`status`: left out (its weights are not at hand, or do not fit) or not tried (no time was left)."""

    name: str
    status: str
    reason: str


def weights_to_download(candidate: Candidate) -> WeightsEnum | None:
    """torchvision's own, if they are not on this machine yet. Raises ConfigError for weights that are nowhere."""
    if candidate.weights == "null":
        return None
    own = options_of("backbone").get(candidate.backbone, {}).get("weights", "DEFAULT")
    try:
        weights = find_weights(candidate.backbone, own if candidate.weights is None else candidate.weights)
    except ConfigError as error:
        raise ConfigError(f"backbones: '{candidate.text}': {error}") from error
    if not isinstance(weights, WeightsEnum) or downloaded_from(weights)[1].exists():
        return None
    return weights


def how_to_get(candidate: Candidate, weights: WeightsEnum) -> str:
    """For a machine without a network."""
    url, file = downloaded_from(weights)
    return (
        f"its weights are not on this machine, and cannot be downloaded from here. Put {url} at {file}, or name a "
        f"file: {candidate.backbone}@<file>"
    )


def is_offline(error: BaseException) -> bool:
    """Whether a download failed for want of a network, as every other one then would."""
    cause = error.__cause__
    return isinstance(cause, OSError) and not isinstance(cause, HTTPError)
