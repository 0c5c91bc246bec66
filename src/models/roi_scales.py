"""How much smaller than the image the maps are, of which the second stage of an R-CNN takes its cuttings."""

import math
from typing import Any

from torchvision.ops.poolers import MultiScaleRoIAlign, initLevelMapper

from src.models.on_meta import run_on_meta

LEAST_PX = 256  # side of the square, unless the network takes smaller ones alone: rounding hides strides in small maps


def fix_roi_scales(net: Any, size_divisible: int) -> None:
    """Set them once, from a square that needs no padding; of torchvision's GeneralizedRCNN.

    torchvision takes them from the first images that it sees, and forever: of one much smaller than its padding, as a
    thin one is, they would be wrong. Computed on torch's meta device: shapes alone.
    """
    side_px = size_divisible * max(1, LEAST_PX // size_divisible)
    maps = run_on_meta(net.backbone, side_px)
    for pool in [module for module in net.roi_heads.children() if isinstance(module, MultiScaleRoIAlign)]:
        levels = [round(math.log2(side_px / maps[name].shape[-1])) for name in pool.featmap_names if name in maps]
        pool.scales = [2.0**-level for level in levels]
        pool.map_levels = initLevelMapper(levels[0], levels[-1], pool.canonical_scale, pool.canonical_level)
