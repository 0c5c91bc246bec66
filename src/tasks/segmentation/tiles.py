"""From logits of tiles, which overlap, to the class of each pixel of a large image.

Shapes: T tiles, K classes, h and w places of the network's map of a tile, H and W pixels of the image; Y and X pixels
of a part of it.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from src.models.segmenter import PIXELS_AT_ONCE

Span = tuple[int, int]  # first pixel, and the one behind the last, along one side


def blended_tiles(logits_TKhw: Tensor, places_xyxy: Tensor, temperature: float) -> dict[str, Tensor]:
    """`mask` (class ids) and `confidence` of each pixel, float32 [H, W].

    Probabilities of the tiles that see a pixel are averaged; a tile counts the less, the nearer the pixel is to its
    edge, and nothing at the edge itself. So no seam shows where tiles disagree. `places_xyxy` int64 [T, 4].
    """
    places = places_xyxy.tolist()
    height, width = max(place[3] for place in places), max(place[2] for place in places)
    mask_HW, confidence_HW = (torch.zeros(height, width, device=logits_TKhw.device) for _ in range(2))
    for rows in spans([(place[1], place[3]) for place in places], height):
        for columns in spans([(place[0], place[2]) for place in places], width):
            seen = [t for t, place in enumerate(places) if inside(rows, place[1::2]) and inside(columns, place[::2])]
            most = max(1, PIXELS_AT_ONCE // (logits_TKhw.shape[1] * (columns[1] - columns[0])))
            for some in parts_of(rows, most):
                tiles = [(logits_TKhw[t] / temperature, places[t]) for t in seen]
                found_KYX = mean_probabilities(tiles, some, columns)
                part = slice(*some), slice(*columns)
                confidence_HW[part], classes_YX = found_KYX.max(dim=0)
                mask_HW[part] = classes_YX.float()
    return {"mask": mask_HW, "confidence": confidence_HW}


def spans(tiles: Sequence[Span], side_px: int) -> list[Span]:
    """The pieces into which the edges of tiles cut a side: all pixels of a piece are seen by the same tiles."""
    return list(pairwise(sorted({0, side_px, *(edge for tile in tiles for edge in tile)})))


def inside(span: Span, tile: Sequence[int]) -> bool:
    return tile[0] <= span[0] and span[1] <= tile[1]


def parts_of(span: Span, most: int) -> Iterator[Span]:
    for first in range(span[0], span[1], most):
        yield first, min(first + most, span[1])


def mean_probabilities(tiles: Sequence[tuple[Tensor, Sequence[int]]], rows: Span, columns: Span) -> Tensor:
    """float32 [K, Y, X] of the logits [K, h, w] of tiles and their places in the image."""
    sum_KYX, weights_YX = torch.zeros(()), torch.zeros(())
    for logits_Khw, (x1, y1, x2, y2) in tiles:
        down_Yh, fade_Y = enlarging(rows, (y1, y2), logits_Khw.shape[1], logits_Khw)
        across_Xw, fade_X = enlarging(columns, (x1, x2), logits_Khw.shape[2], logits_Khw)
        weight_YX = fade_Y[:, None] * fade_X
        sum_KYX = sum_KYX + weight_YX * (down_Yh @ logits_Khw.float() @ across_Xw.T).softmax(dim=0)
        weights_YX = weights_YX + weight_YX
    return sum_KYX / weights_YX


def enlarging(span: Span, tile: Span, places: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Of the pixels of a span [Y]: how much each takes of each place of its tile's map, [Y, h], between the two
    nearest, as `enlarged` does it; and how much the tile counts there, [Y], more than 0.
    """
    pixels_Y = torch.arange(*span, device=like.device, dtype=torch.float32) + 0.5 - tile[0]
    at_Y = (pixels_Y * (places / (tile[1] - tile[0])) - 0.5).clamp(min=0, max=places - 1)
    distance_Yh = (at_Y[:, None] - torch.arange(places, device=like.device)).abs()
    fade_Y = torch.minimum(pixels_Y, (tile[1] - tile[0]) - pixels_Y)
    return (1 - distance_Yh).clamp(min=0), fade_Y
