"""A classifier of timm's with a new head: it says itself where its head is, and which layers belong together."""

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
    """Its stages are timm's groups of layers, those that timm's own rates by layer go by (`group_matcher`)."""

    @property
    def blocks(self) -> list[str]:
        return [block for stage in self.stages for block in stage]

    @property
    def stages(self) -> list[list[str]]:
        from timm.models import group_parameters

        net = cast(Any, self.net)
        matcher = net.group_matcher(coarse=False)
        group_of: dict[str, int] = group_parameters(net, matcher, reverse=True)
        found: dict[int, list[str]] = {}

        def visit(name: str, module: nn.Module) -> None:
            """Add the largest modules that lie in one group whole."""
            if self.in_head(name):
                return
            groups = {group_of[f"{name}.{own}" if name else own] for own, _ in module.named_parameters()}
            whole = len(groups) == 1 and not any(head.startswith(f"{name}.") for head in self.head_names)
            if name and whole:
                found.setdefault(groups.pop(), []).append(name)
            else:
                for child_name, child in module.named_children():
                    visit(f"{name}.{child_name}" if name else child_name, child)

        visit("", self.net)
        return [found[group] for group in sorted(found)]

    @property
    def _behind_head(self) -> dict[str, nn.Module]:
        return {}  # timm's networks flatten the outputs at most
