"""A detector as an exported file computes it.

Shapes: H and W pixels of an image, h and w of the padded one that the network sees, M boxes.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.ssd import SSD

from src.models.combined_detector import CombinedDetector
from src.models.detector import SCORE_FLOOR, DetectorNetwork, are_objects
from src.models.detector_graphs import OneStageGraph
from src.models.pillow_resize import PillowResizeWhole
from src.models.preprocessing import Preprocessing
from src.models.rcnn_graph import TwoStageGraph
from src.settings.errors import ConfigError
from src.tasks.detection.agreement import Limits
from src.tasks.detection.export import DetectionOutputs
from src.tasks.detection.prediction import DEFAULT_THRESHOLD
from src.training.exported_model import ExportedModel


class ExportedDetector(ExportedModel):
    """Takes one RGB image uint8 [1, 3, H, W] of any size, and returns `boxes` float32 [M, 4] XYXY in its pixels,
    `scores` float32 [M], calibrated, the highest first, and `labels` int64 [M], 0..K-1. M may be 0.
    """

    takes_one = True
    advice = (
        " A detector sees images of many shapes, and some networks (Swin, MaxViT) compute otherwise in each. Take a "
        "convolutional one, such as backbone=squeezenet1_1 or resnet50, or train with data.resize_mode=stretch: all "
        "images are then of one shape."
    )

    def __init__(self, network: Any, *others: Any, **more: Any) -> None:
        if isinstance(network, CombinedDetector):
            raise ConfigError(
                "Boxes of several detectors, or views, are merged one after the other, for which there is no graph: "
                "export one checkpoint, without tta."
            )
        self.size_divisible: int = network.net.transform.size_divisible
        super().__init__(network, *others, **more)
        self.find = graph_of(self.network.net)

    def make_resize(self, preprocessing: Preprocessing) -> nn.Module:
        return PillowResizeWhole(preprocessing, self.size_divisible)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        pixels_1Chw, inside_hw, size_2 = self.resize(images)
        pixels_1Chw = torch.where(inside_hw, self.network.normalise(pixels_1Chw), 0.0)
        boxes_M4, scores_M, labels_M, more = split_off(*self.find(pixels_1Chw.to(self.dtype), size_2))
        objects = are_objects(boxes_M4, labels_M).nonzero().flatten()
        sides_4 = torch.cat([torch.full((1,), images.shape[3]), torch.full((1,), images.shape[2])]).repeat(2)
        boxes_M4 = boxes_M4[objects] / size_2.flip(0).repeat(2) * sides_4
        columns = [boxes_M4, scores_M[objects, None], labels_M[objects, None] - 1.0]
        rows_M = torch.cat([*columns, *(values_M[objects].flatten(1) for values_M in more)], dim=1)
        outputs = {name: value[0] for name, value in self.outputs(rows_M[None]).items()}
        outputs["labels"] = outputs["labels"].long()
        return self.named(outputs, images)

    def named(self, outputs: dict[str, Tensor], images: Tensor) -> tuple[Tensor, ...]:
        """In the order of an exported file."""
        return tuple(outputs[name] for name in self.output_names)


def split_off(boxes: Tensor, scores: Tensor, labels: Tensor, *more: Tensor) -> tuple[Tensor, Tensor, Tensor, Any]:
    """What a graph gives beside boxes, scores and labels, in one."""
    return boxes, scores, labels, more


def graph_of(net: nn.Module) -> OneStageGraph | TwoStageGraph:
    """Raises ConfigError for a detector that has none."""
    if isinstance(net, FCOS | RetinaNet | SSD):
        return OneStageGraph(net)
    if isinstance(net, FasterRCNN):
        return TwoStageGraph(net)
    raise ConfigError(
        f"{type(net).__name__} cannot be exported. FCOS, RetinaNet, SSD and Faster R-CNN can: head=fcos, retinanet or "
        "faster_rcnn, or one of torchvision's detectors of these kinds."
    )


def limits_of(network: DetectorNetwork, outputs: DetectionOutputs) -> Limits:
    """By which boxes are dropped, with scores as the output layer gives them."""
    net: Any = network.net
    chooser = net.roi_heads if isinstance(net, FasterRCNN) else net
    floor = outputs.calibrated(torch.tensor(SCORE_FLOOR))
    thresholds = outputs.thresholds or [DEFAULT_THRESHOLD] * len(outputs.class_names)
    return Limits(floor.item(), network.max_detections, chooser.nms_thresh, np.array(thresholds, dtype=np.float32))
