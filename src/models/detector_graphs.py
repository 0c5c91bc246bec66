"""torchvision's detectors as graphs of plain tensor operations, for one image of any size: what can be exported.

torchvision's own code branches on how many boxes there are, which no graph can. Here the ends of the detectors are
written without branches; boxes, order and scores are those of src/models/detector.py.

Shapes: h and w pixels of the padded image, A anchors, K classes with the background, M boxes that are found.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.ssd import SSD
from torchvision.ops import nms

# float32 [M, 4] XYXY in pixels, float32 [M] with the highest first, int64 [M] with 0 for the background
Found: TypeAlias = tuple[Tensor, Tensor, Tensor]


class OneStageGraph:
    """FCOS, RetinaNet and SSD: the best anchors of each level or class, and of those that overlap the best."""

    def __init__(self, net: Any) -> None:
        self.net, self.by_class = net, isinstance(net, SSD)

    def __call__(self, pixels_13hw: Tensor, size_2: Tensor) -> Found:
        """Of a normalised and padded image, whose own height and width in there are `size_2`."""
        net = self.net
        maps = list(net.backbone(pixels_13hw).values())
        outputs = {name: value[0].float() for name, value in net.head(maps).items()}
        anchors_A4 = self.anchors(pixels_13hw, maps)
        best = self.best_by_class if self.by_class else self.best_by_level
        scores, anchors, labels = best(outputs, maps)
        kept = (scores > net.score_thresh).nonzero().flatten()
        scores, anchors, labels = scores[kept], anchors[kept], labels[kept]
        decode = net.box_coder.decode if isinstance(net, FCOS) else net.box_coder.decode_single
        boxes = clipped(decode(outputs["bbox_regression"][anchors], anchors_A4[anchors]), size_2)
        chosen_M = nms_by_class(boxes, scores, labels, net.nms_thresh)[: net.detections_per_img]
        return boxes[chosen_M], scores[chosen_M], labels[chosen_M]

    def anchors(self, pixels_13hw: Tensor, maps: Sequence[Tensor]) -> Tensor:
        if not self.by_class:
            return torch.cat(anchors_by_level(self.net.anchor_generator, pixels_13hw, maps))
        grids, size = [list(one.shape[-2:]) for one in maps], list(pixels_13hw.shape[-2:])
        shares_A4 = self.net.anchor_generator._grid_default_boxes(grids, size)
        (centers_A2, sides_A2), size_wh = torch.split(shares_A4, 2, dim=1), torch.tensor([size[1], size[0]])
        corners = (centers_A2 - 0.5 * sides_A2) * size_wh, (centers_A2 + 0.5 * sides_A2) * size_wh
        return torch.cat(corners, dim=1)

    def best_by_level(self, outputs: dict[str, Tensor], maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, anchors and labels of the candidates, as many of each level; scores of -1 are none."""
        scores_AK = torch.sigmoid(outputs["cls_logits"])
        if "bbox_ctrness" in outputs:
            scores_AK = torch.sqrt(scores_AK * torch.sigmoid(outputs["bbox_ctrness"]))
        places = self.net.anchor_generator.num_anchors_per_location()
        counts = [one.shape[-2] * one.shape[-1] * count for one, count in zip(maps, places, strict=True)]
        classes, scores, indices, start = scores_AK.shape[1], [], [], 0
        for scores_aK in torch.split(scores_AK, counts):
            best_k, indices_k = highest(scores_aK.flatten(), self.net.topk_candidates)
            scores.append(best_k)
            indices.append(indices_k + start * classes)
            start = start + scores_aK.shape[0]
        indices_k = torch.cat(indices)
        return torch.cat(scores), indices_k // classes, indices_k % classes

    def best_by_class(self, outputs: dict[str, Tensor], maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        scores_KA = torch.softmax(outputs["cls_logits"], dim=-1).T[1:]
        best_Kk, anchors_Kk = highest(scores_KA, self.net.topk_candidates)
        labels_Kk = torch.arange(1, len(scores_KA) + 1)[:, None].expand(best_Kk.shape)
        return best_Kk.flatten(), anchors_Kk.flatten(), labels_Kk.flatten()


def anchors_by_level(generator: Any, pixels_13hw: Tensor, maps: Sequence[Tensor]) -> list[Tensor]:
    """As AnchorGenerator.forward, float32 [a, 4] each."""
    height, width = pixels_13hw.shape[-2:]
    generator.set_cell_anchors(torch.float32, pixels_13hw.device)
    grids = [one.shape[-2:] for one in maps]
    strides = [[torch.full((), height // grid[0]), torch.full((), width // grid[1])] for grid in grids]
    anchors: list[Tensor] = generator.grid_anchors(grids, strides)
    return anchors


def highest(scores: Tensor, most: int, missing: float = -1.0) -> tuple[Tensor, Tensor]:
    """The `most` highest along the last axis and their places; where there are fewer, `missing` at place 0."""
    best, places = nn.functional.pad(scores, (0, most), value=missing).topk(most)
    return best, torch.where(best <= missing, 0, places)


def clipped(boxes_M4: Tensor, size_2: Tensor) -> Tensor:
    """To an image of this height and width."""
    return torch.minimum(boxes_M4.clamp(min=0), size_2.flip(0).repeat(2).to(boxes_M4))


def nms_by_class(boxes_M4: Tensor, scores_M: Tensor, labels_M: Tensor, most_iou: float) -> Tensor:
    """As torchvision's batched_nms does for up to 1,000 boxes: classes are moved so far apart that they never meet."""
    largest = torch.cat([boxes_M4.flatten(), boxes_M4.new_zeros(1)]).max()
    kept_M: Tensor = nms(boxes_M4 + (labels_M.to(boxes_M4) * (largest + 1))[:, None], scores_M, most_iou)
    return kept_M
