"""torchvision's whole segmenters: built for any classes, with everything that does not depend on the classes.

Shapes: B images, H and W pixels, K classes, h and w places of a coarser map.
"""

from typing import Any

from torch import Tensor, nn
from torchvision import models

from src.models.detection_heads import Norms
from src.models.norms import bear_batches_of_one, freeze_norms
from src.models.preprocessing import Preprocessing
from src.models.segmenter import NewSegmenter, PixelNetwork
from src.models.whole_networks import USUAL_ASPECT, segmenter_names, with_own_classes
from src.settings.errors import ConfigError


class NamedMaps(PixelNetwork):
    """FCN and DeepLab, whose classifiers take one map each: `out`, and for the second loss `aux`."""

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        maps: Any = self.backbone(images_BCHW)
        second = self.aux_classifier(maps["aux"]) if self.training and self.aux_classifier is not None else None
        return self.classifier(maps["out"]), second


def segmenter_preprocessing(name: str) -> Preprocessing:
    """What the weights were trained on: torchvision scales the shorter side to 520 pixels; `fit` scales the longer one,
    here to what it becomes in images of 4:3.
    """
    preset = models.get_model_weights(name)["DEFAULT"].transforms()
    longer_px = round(preset.resize_size[0] * USUAL_ASPECT)
    mean, std = tuple(preset.mean), tuple(preset.std)
    return Preprocessing(preset.resize_size[0], longer_px, preset.interpolation.value, mean, std, "fit")


def own_pixels(
    net: nn.Module, name: str, image_size_px: int, num_classes: int, norms: Norms = "frozen"
) -> NewSegmenter:
    """A whole segmenter as it is; only what depends on the number of classes is new."""
    if name not in segmenter_names():
        raise ConfigError(
            f"head=torchvision_pixels: backbone.name='{name}' is no segmenter, and has no head for pixels. Take "
            f"head=pyramid, or a whole segmenter: backbone={', '.join(segmenter_names())}."
        )
    whole, head_names = with_own_classes(net, name, num_classes)
    if norms == "frozen":
        freeze_norms(whole)
    bear_batches_of_one(whole)
    parts: Any = whole
    if name.startswith("lraspp"):
        return NewSegmenter(PixelNetwork(parts.backbone, parts.classifier), head_names)
    return NewSegmenter(NamedMaps(parts.backbone, parts.classifier, parts.aux_classifier), head_names)
