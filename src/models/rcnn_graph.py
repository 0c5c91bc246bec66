"""Faster R-CNN as a graph of plain tensor operations, as src/models/detector_graphs.py has the others.

Shapes: h and w pixels of the padded image, A anchors, P proposals, K classes with the background, M found boxes.
"""

from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import nms, roi_align

from src.models.detector import SMALLEST_PX, are_large
from src.models.detector_graphs import Found, anchors_by_level, clipped, highest, nms_by_class

MISSING = -1e30  # the logit of what is not there


class TwoStageGraph:
    """Proposals of each level, and then a class and a better box for each of them."""

    def __init__(self, net: Any) -> None:
        self.net, self.heads = net, net.roi_heads

    def __call__(self, pixels_13hw: Tensor, size_2: Tensor) -> Found:
        """As OneStageGraph."""
        return self.boxes(self.net.backbone(pixels_13hw), pixels_13hw, size_2)

    def boxes(self, maps: dict[str, Tensor], pixels_13hw: Tensor, size_2: Tensor) -> Found:
        """The same, of what the backbone makes of the image."""
        proposals_P4, there_P = self.proposals(pixels_13hw, list(maps.values()), size_2)
        pooled = self.pooled(self.seen(maps), proposals_P4, self.heads.box_roi_pool)
        logits_PK, deltas_P4K = self.heads.box_predictor(self.heads.box_head(pooled.to(pixels_13hw.dtype)))
        scores_PK = torch.softmax(logits_PK.float(), dim=-1)
        boxes_PK4 = self.heads.box_coder.decode_single(deltas_P4K.float(), proposals_P4).unflatten(1, (-1, 4))
        boxes_M4 = clipped(boxes_PK4[:, 1:].flatten(0, 1), size_2)
        scores_M = scores_PK[:, 1:].flatten()
        labels_M = torch.arange(1, scores_PK.shape[1]).expand(scores_PK[:, 1:].shape).flatten()
        there_M = there_P[:, None].expand(scores_PK[:, 1:].shape).flatten() & (scores_M > self.heads.score_thresh)
        kept = (there_M & are_large(boxes_M4, SMALLEST_PX)).nonzero().flatten()
        boxes_M4, scores_M, labels_M = boxes_M4[kept], scores_M[kept], labels_M[kept]
        chosen_M = nms_by_class(boxes_M4, scores_M, labels_M, self.heads.nms_thresh)[: self.heads.detections_per_img]
        return boxes_M4[chosen_M], scores_M[chosen_M], labels_M[chosen_M]

    def seen(self, maps: dict[str, Tensor]) -> list[Tensor]:
        """By the second stage, which leaves out the coarsest."""
        return [one for name, one in maps.items() if name in self.heads.box_roi_pool.featmap_names]

    def proposals(self, pixels_13hw: Tensor, maps: list[Tensor], size_2: Tensor) -> tuple[Tensor, Tensor]:
        """The best ones, always as many, and which of them are there.

        Suppressed in each level for itself, as torchvision does for more than 1,000 boxes.
        """
        rpn = self.net.rpn
        objectness, deltas = rpn.head(maps)
        boxes, scores = [], []
        for level, anchors_A4 in enumerate(anchors_by_level(rpn.anchor_generator, pixels_13hw, maps)):
            logits_A1, deltas_A4 = concat_box_prediction_layers([objectness[level]], [deltas[level]])
            logits_k, anchors_k = highest(logits_A1.float().flatten(), rpn.pre_nms_top_n(), MISSING)
            best_k = torch.sigmoid(logits_k)
            boxes_k4 = rpn.box_coder.decode_single(deltas_A4[anchors_k].float(), anchors_A4[anchors_k])
            boxes_k4 = clipped(boxes_k4, size_2)
            there_k = (logits_k > MISSING) & (best_k >= rpn.score_thresh)
            kept = (there_k & are_large(boxes_k4, rpn.min_size)).nonzero().flatten()
            boxes_k4, best_k = boxes_k4[kept], best_k[kept]
            chosen = nms(boxes_k4, best_k, rpn.nms_thresh)
            boxes.append(boxes_k4[chosen])
            scores.append(best_k[chosen])
        # Networks that have convolutions over proposals can only be exported if there is a fixed number of them.
        best_P, order_P = highest(torch.cat(scores), rpn.post_nms_top_n())
        boxes_P4 = torch.cat([*boxes, pixels_13hw.new_ones(1, 4, dtype=torch.float32)])[order_P]
        return boxes_P4, best_P >= 0

    def pooled(self, maps: list[Tensor], proposals_P4: Tensor, pool: Any) -> Tensor:
        """float32 [P, C, s, s] for the s of the pool, each of the map that fits the size of the proposal."""
        levels = self.heads.box_roi_pool  # which sees the same maps as that of masks
        rois_P5 = torch.cat([torch.zeros_like(proposals_P4[:, :1]), proposals_P4], dim=1)
        levels_P = levels.map_levels([proposals_P4])
        parts = []
        for level, one in enumerate(maps):
            places_p = (levels_P == level).nonzero().flatten()
            size, scale = pool.output_size, levels.scales[level]
            parts.append(roi_align(one.float(), rois_P5[places_p], size, scale, pool.sampling_ratio))
        by_level_P = (levels_P * len(levels_P) + torch.arange(len(levels_P))).argsort()
        return torch.cat(parts)[by_level_P.argsort()]
