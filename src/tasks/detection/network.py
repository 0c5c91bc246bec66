"""What of a detector follows from the boxes that it trains on; each checkpoint carries it."""

import math
from typing import Any

import numpy as np
from torch import nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from src.data.boxes import Boxes
from src.runs.record import RunRecord
from src.settings.plain_values import MOST_DETECTIONS

LEAST_DETECTIONS = 100  # per image, as COCO counts
# Where nearly all boxes are so large, the pyramid begins at stride 8: each still spans four places there, as the
# smallest ones of COCO do at FCOS's own finest level (Tian et al. 2019), and a step takes half the time.
LARGE_PX = 32
FEW_PERCENT = 5  # of the boxes may be smaller


def network_for_boxes(targets: Boxes, record: RunRecord) -> dict[str, Any]:
    """Of the training's targets; plain data.

    `max_detections`: half as many boxes again as the fullest image has, at least COCO's 100. `finest_stride`: 8 where
    the head takes any strides (head.strides=null) and nearly all boxes are large at the network's size.
    """
    most = max(LEAST_DETECTIONS, math.ceil(1.5 * targets.largest_count))
    network = {"max_detections": min(most, MOST_DETECTIONS)}
    head, rows = record.config["head"], np.arange(len(targets))
    places_m, _ = targets.places(rows)
    sides_m = targets.sides_at_network(rows, record.preprocessing).min(axis=1)[~targets.crowd[places_m]]
    large = len(sides_m) > 0 and np.percentile(sides_m, FEW_PERCENT) >= LARGE_PX
    return {**network, "finest_stride": 8} if large and head.get("strides", ...) is None else network


def network_facts(network: dict[str, Any]) -> list[str]:
    """In words, for the log."""
    facts = [f"At most {network['max_detections']} boxes are found in an image"]
    if "finest_stride" in network:
        facts.append(
            f"Feature maps begin at stride {network['finest_stride']}: {100 - FEW_PERCENT} % of the boxes have sides "
            f"of at least {LARGE_PX} px at the network's size. head.strides=[4, 8, 16] begins finer, at twice the time"
        )
    return facts


def loss_names(net: nn.Module) -> list[str]:
    """Of the parts of a detector's loss, as torchvision calls them."""
    if isinstance(net, GeneralizedRCNN):
        names = ["loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"]
        return [*names, "loss_mask"] if net.roi_heads.has_mask() else names
    return ["classification", "bbox_regression", *(["bbox_ctrness"] if isinstance(net, FCOS) else [])]
