"""From boxes in shares of an image to pixels, and from those of tiles, which overlap, to the boxes of a large image.

Shapes: B images, T tiles, D rows for the boxes of each, M boxes.
"""

import torch
from torch import Tensor
from torchvision.ops import batched_nms

MERGE_IOU = 0.6  # as FCOS removes doubles, the mildest of the networks: one tile's boxes stay as they are
AT_EDGE = 0.02  # shares of a tile's side: boxes that end so near to its edge are taken to be cut by it


def in_pixels(outputs_BD6: Tensor, sizes_B2: Tensor) -> Tensor:
    """Outputs whose boxes are shares of the image's sides, with boxes in pixels of images of these widths, heights."""
    boxes_BD4 = outputs_BD6[..., :4] * sizes_B2.repeat(1, 2)[:, None]
    return torch.cat([boxes_BD4, outputs_BD6[..., 4:]], dim=-1)


def merged_tiles(outputs_TD6: Tensor, places_T4: Tensor) -> Tensor:
    """Rows as the network's outputs [1, M, 6 or more], the highest score first; boxes in pixels of the whole image.

    `outputs_TD6` has boxes as shares of the tiles' sides; `places_T4` int64 are x1, y1, x2, y2 of the tiles.

    A box that ends at an inner edge of its tile, and lies wholly in the strip that the next tile across this edge sees
    too, is dropped: that tile sees all of it and what is behind the edge. So an object no larger than the overlap has
    one box; a larger one may come in parts. What two tiles say alike is merged by class.
    """
    places_T4 = places_T4.to(outputs_TD6.dtype)
    sizes_T22 = (places_T4[:, 2:] - places_T4[:, :2]).repeat(1, 2)[:, None]
    boxes_TD4 = outputs_TD6[..., :4] * sizes_T22 + places_T4[:, None, :2].repeat(1, 1, 2)
    kept_TD = (outputs_TD6[..., 5] >= 0) & ~seen_beside(boxes_TD4, places_T4)
    boxes_M4, scores_M, labels_M = boxes_TD4[kept_TD], outputs_TD6[kept_TD][:, 4], outputs_TD6[kept_TD][:, 5]
    best = batched_nms(boxes_M4.float(), scores_M.float(), labels_M, MERGE_IOU)
    more = outputs_TD6[kept_TD][best, 6:]  # of masks, which lie in their boxes
    return torch.cat([boxes_M4[best], scores_M[best, None], labels_M[best, None], more], dim=1)[None]


def seen_beside(boxes_TD4: Tensor, places_T4: Tensor) -> Tensor:
    """Whether a box is cut by an edge of its tile behind which the next tile sees more of it, bool [T, D]."""
    beside_TD = torch.zeros(boxes_TD4.shape[:2], dtype=torch.bool, device=boxes_TD4.device)
    for low, high in ((0, 2), (1, 3)):  # x and y
        starts_T, ends_T = places_T4[:, low], places_T4[:, high]
        margins_T = AT_EDGE * (ends_T - starts_T)
        for t, (start, end, margin) in enumerate(zip(starts_T, ends_T, margins_T, strict=True)):
            lows_D, highs_D = boxes_TD4[t, :, low], boxes_TD4[t, :, high]
            if (starts_T < start).any():  # the tiles before end where the strip that is seen twice does
                beside_TD[t] |= (lows_D <= start + margin) & (highs_D <= ends_T[starts_T < start].max())
            if (ends_T > end).any():
                beside_TD[t] |= (highs_D >= end - margin) & (lows_D >= starts_T[ends_T > end].min())
    return beside_TD
