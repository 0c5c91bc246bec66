"""The networks to choose from: their names, and where each gets its weights. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from src.settings.backbones import BACKBONES, OWN_HEADS
from src.settings.errors import ConfigError, did_you_mean
from src.settings.timm_names import PREFIX, name_problems


@dataclass(frozen=True)
class Candidate:
    """`backbone` and `weights` are what these settings of src.train are; weights None = the network's own option."""

    backbone: str
    weights: str | None = None

    @property
    def text(self) -> str:
        return self.backbone if self.weights is None else f"{self.backbone}@{self.weights}"

    @property
    def settings(self) -> list[str]:
        """Words of src.train's command line."""
        words = [f"backbone={self.backbone}"]
        return words if self.weights is None else [*words, f"backbone.weights={self.weights}"]


def candidates_of(
    named: Sequence[str] | str | None, preset: str, presets: Mapping[str, Sequence[str]]
) -> list[Candidate]:
    """Those that are named, else those of the preset, each once. Raises ConfigError for names that nothing has."""
    if named is None:
        if preset not in presets:
            raise ConfigError(f"preset={preset!r} is not there.{did_you_mean(preset, presets)} {_listed(presets)}")
        named = presets[preset]
    texts = [named] if isinstance(named, str) else list(named) if isinstance(named, Sequence) else [named]
    if wrong := next((text for text in texts if not isinstance(text, str) or text.startswith("[")), None):
        raise ConfigError(f"backbones: {wrong} is no name of a network: give one, or several as [resnet18,resnet50].")
    if not texts:
        raise ConfigError(f"backbones=[] names no network: give some, [resnet18,resnet50]. {_listed(presets)}")
    return list(dict.fromkeys(parsed(str(text).strip()) for text in texts))


def parsed(text: str) -> Candidate:
    """`name` or `name@weights`, weights as backbone.weights takes them."""
    name, at, weights = text.partition("@")
    if at and not weights:
        raise ConfigError(f"backbones: '{text}' ends where the weights should be: {name}@<file>, or {name} alone.")
    if name in OWN_HEADS:
        raise ConfigError(f"backbones: '{name}' is a network of whole answers, and no classifier whose features count.")
    if problem := next(name_problems(name), None):
        raise ConfigError(f"backbones: {problem.removeprefix('backbone.name=')}")
    if name not in BACKBONES and not name.startswith(PREFIX):
        hint = did_you_mean(name, BACKBONES)
        raise ConfigError(
            f"backbones: '{name}' is no classifier of torchvision.{hint} Each is a name, timm/<name>, or name@weights "
            "with a file, a run directory or null (random weights). python -m src.train --help lists the names."
        )
    return Candidate(name, weights if at else None)


def _listed(presets: Mapping[str, Sequence[str]]) -> str:
    return "Presets: " + "; ".join(f"{name} ({', '.join(listed)})" for name, listed in presets.items()) + "."
