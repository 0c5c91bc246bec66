"""A classifier of timm's with a new head: it says itself where its head is, and which layers belong together."""

from importlib import import_module
from typing import Any, cast

from torch import nn

from src.models.classifier import ImageClassifier
from src.models.preprocessing import Preprocessing
from src.models.timm_networks import is_of_timm


def image_classifier(net: nn.Module, preprocessing: Preprocessing, channels_last: bool) -> ImageClassifier:
    """The adapted network of a classifier, torchvision's or timm's, with its old head still."""
    kind = TimmClassifier if is_of_timm(net) else ImageClassifier
    return kind(net, preprocessing, channels_last)


class TimmClassifier(ImageClassifier):
    """Its stages are timm's groups of layers, those that timm's own rates by layer go by."""

    @property
    def blocks(self) -> list[str]:
        return [block for stage in self.stages for block in stage]

    @property
    def stages(self) -> list[list[str]]:
        """The largest modules that lie in one group whole; parameters above them belong to the input, as elsewhere.

        A few networks have no groups (`group_matcher`) and are cut as torchvision's are.
        """
        group_of = self._groups()
        if not group_of:
            return [[block] for block in super().blocks]
        found: dict[int, list[str]] = {}

        def visit(name: str, module: nn.Module) -> None:
            if self.in_head(name):
                return
            own = [f"{name}.{key}" if name else key for key, _ in module.named_parameters()]
            groups = {group_of[key] for key in own if key in group_of}  # shared parameters count in their first place
            if name and len(groups) == 1 and not any(head.startswith(f"{name}.") for head in self.head_names):
                found.setdefault(groups.pop(), []).append(name)
            elif groups:
                for child_name, child in module.named_children():
                    visit(f"{name}.{child_name}" if name else child_name, child)

        visit("", self.net)
        return [found[group] for group in sorted(found)]

    def _groups(self) -> dict[str, int]:
        """The group of each parameter, from the input on; empty if timm has none for this network."""
        if not hasattr(self.net, "group_matcher"):
            return {}
        matcher = cast(Any, self.net).group_matcher(coarse=False)
        return dict(import_module("timm.models").group_parameters(self.net, matcher, reverse=True))

    @property
    def _behind_head(self) -> dict[str, nn.Module]:
        return {}  # timm's networks flatten the outputs at most
