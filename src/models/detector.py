"""A detector of torchvision that takes uint8 images, and answers with one tensor.

Shapes: B images, H and W pixels, K classes, m boxes of an image, D = max_detections.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.detection.ssd import SSD

from src.models.adapted import AdaptedNetwork
from src.models.batching import Batching
from src.models.detection_heads import NewDetector
from src.models.preprocessing import Preprocessing
from src.models.roi_scales import fix_roi_scales

Images: TypeAlias = Tensor | Sequence[Tensor]  # uint8 [B, 3, H, W], or B of [3, H, W] of different sizes
BoxTargets: TypeAlias = Sequence[dict[str, Tensor]]  # boxes: float32 [m, 4] XYXY in pixels, labels: int64 [m], 0..K-1

SCORE_FLOOR = 0.05  # below it nothing is kept: thresholds are chosen later, and AP hardly depends on what is below
SMALLEST_PX = 1e-2  # side of a box, as in torchvision's R-CNN
_SAMPLING_SEED = 0  # of the anchors and proposals that a validation loss is computed from

# These modules ask for their mode to decide whether they compute losses or boxes.
_SWITCHES = (GeneralizedRCNN, RegionProposalNetwork, RoIHeads, FCOS, RetinaNet, SSD)
# What computes scores, boxes and masks.
_AS_FLOAT32 = ("head", "rpn.head", "roi_heads.box_predictor", "roi_heads.mask_predictor")


class DetectorNetwork(AdaptedNetwork):
    """A torchvision detector for K + 1 classes, of which it calls the background 0; outside, classes are 0..K-1.

    Images of a batch are padded at the right and below to one size. `max_detections`: boxes per image at most.
    """

    def __init__(
        self, detector: NewDetector, preprocessing: Preprocessing, channels_last: bool, max_detections: int
    ) -> None:
        super().__init__(detector.net, detector.head_names, preprocessing, channels_last)
        self.max_detections = max_detections
        net: Any = detector.net
        net.transform = Batching(detector.size_divisible, self.memory_format)
        two_stages = isinstance(net, GeneralizedRCNN)
        if two_stages:
            fix_roi_scales(net, detector.size_divisible)
        chooser = net.roi_heads if two_stages else net
        chooser.detections_per_img, chooser.score_thresh = max_detections, SCORE_FLOOR
        _compute_boxes_in_float32(net)

    def forward(self, images: Images) -> Tensor:
        """The boxes of each image, the highest score first, float32 [B, D, 6].

        x1, y1, x2, y2 as shares 0..1 of the image's width and height; score 0..1; class id. Rows beyond those found are
        zeros with class -1.
        """
        with self._asked_for(losses=False):
            return self._packed(images, self.net(self._normalised(images)))

    def losses(self, images: Images, targets: BoxTargets) -> dict[str, Tensor]:
        """The parts of the loss by torchvision's names; their sum is what is minimised.

        What is random in them (the sampling of an R-CNN) comes from torch's global generator.
        """
        with self._asked_for(losses=True):
            parts: dict[str, Tensor] = self.net(self._normalised(images), self._as_torchvision_counts(targets))
        return parts

    @torch.no_grad()
    def losses_and_outputs(self, images: Images, targets: BoxTargets) -> tuple[dict[str, Tensor], Tensor]:
        """Both with one pass through the backbone, in inference mode: nothing of the network moves.

        The same images have the same losses each time, and torch's global generator stays where it was.
        """
        assert not self.training, "statistics would move"
        devices = [self.device] if self.device.type == "cuda" else []
        with self._one_backbone_pass(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(_SAMPLING_SEED)
            return self.losses(images, targets), self(images)

    def finite_images(self, images: Images, targets: BoxTargets) -> Tensor:
        """Which images alone have finite losses, bool [B]; in inference mode."""
        parts = [self.losses_and_outputs([image], [target])[0] for image, target in zip(images, targets, strict=True)]
        return torch.stack([torch.stack(list(part.values())).isfinite().all() for part in parts])

    def _normalised(self, images: Images) -> list[Tensor]:
        if isinstance(images, Tensor):
            return list(self.normalise(images))
        return [self.normalise(image[None])[0] for image in images]

    def _packed(self, images: Images, found: list[dict[str, Tensor]]) -> Tensor:
        nothing = torch.zeros(self._columns, device=self.device)
        nothing[5] = -1
        packed = []
        for image, one in zip(images, found, strict=True):
            size_hw = int(image.shape[-2]), int(image.shape[-1])
            rows_m = self._rows(size_hw, one, are_objects(one["boxes"], one["labels"]))
            packed.append(torch.cat([rows_m, nothing.expand(self.max_detections - len(rows_m), -1)]))
        return torch.stack(packed)

    @property
    def _columns(self) -> int:
        """Numbers of a row of the outputs."""
        return 6

    def _rows(self, size_hw: tuple[int, int], one: dict[str, Tensor], objects: Tensor) -> Tensor:
        """Of those boxes of an image that are objects, in the order in which torchvision gives them."""
        boxes_m4 = one["boxes"][objects].float()
        size_4 = boxes_m4.new_tensor([size_hw[1], size_hw[0]] * 2)
        scores_m1, ids_m1 = one["scores"][objects, None].float(), one["labels"][objects, None] - 1.0
        return torch.cat([boxes_m4 / size_4, scores_m1, ids_m1], dim=1)

    def _as_torchvision_counts(self, targets: BoxTargets) -> list[dict[str, Tensor]]:
        """With the background as class 0."""
        return [{"boxes": target["boxes"].float(), "labels": target["labels"] + 1} for target in targets]

    @contextmanager
    def _asked_for(self, losses: bool) -> Iterator[None]:
        """Losses or boxes, whatever mode the network is in: a frozen detector has losses too.

        The mode of its layers, which statistics and dropout follow, is left alone.
        """
        switches = [module for module in self.net.modules() if isinstance(module, _SWITCHES)]
        modes = [module.training for module in switches]
        try:
            for module in switches:
                module.training = losses
            yield
        finally:
            for module, mode in zip(switches, modes, strict=True):
                module.training = mode

    @contextmanager
    def _one_backbone_pass(self) -> Iterator[None]:
        """In here the backbone computes once, and returns the same maps afterwards."""
        backbone: Any = self.net.backbone
        compute = backbone.forward
        kept: list[Any] = []

        def once(images_BCHW: Tensor) -> Any:
            if not kept:
                kept.append(compute(images_BCHW))
            return kept[0]

        backbone.forward = once
        try:
            yield
        finally:
            del backbone.forward  # the instance's; that of the class stays


def are_objects(boxes_M4: Tensor, labels_M: Tensor) -> Tensor:
    """bool [M]. FCOS and RetinaNet score the background as if it were a class, and of boxes beside the image nothing is
    left when they are clipped to it.
    """
    return (labels_M > 0) & are_large(boxes_M4, SMALLEST_PX)


def are_large(boxes_M4: Tensor, least_px: float) -> Tensor:
    """bool [M]: both sides are."""
    return (boxes_M4[:, 2:] - boxes_M4[:, :2] >= least_px).all(dim=1)


def _compute_boxes_in_float32(net: nn.Module) -> None:
    """Under bfloat16 anchors and outputs would have 8 bits, which moves a box by several pixels in a large image."""
    for name, module in net.named_modules():
        if isinstance(module, AnchorGenerator | DefaultBoxGenerator):
            module.register_forward_pre_hook(_with_float32_maps)
        elif name in _AS_FLOAT32:
            module.register_forward_hook(lambda _, __, outputs: _as_float32(outputs))


def _with_float32_maps(_: nn.Module, inputs: tuple[ImageList, list[Tensor]]) -> tuple[ImageList, list[Tensor]]:
    """Only their shape, kind of number and device are looked at: nothing is copied."""
    images, maps = inputs
    return images, [one.new_empty(1, dtype=torch.float32).expand(one.shape) for one in maps]


def _as_float32(outputs: Any) -> Any:
    if isinstance(outputs, dict):
        return {name: _as_float32(value) for name, value in outputs.items()}
    if isinstance(outputs, list | tuple):
        return type(outputs)(_as_float32(value) for value in outputs)
    return outputs.float() if isinstance(outputs, Tensor) else outputs
