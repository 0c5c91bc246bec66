"""Which pixels a polygon covers, as COCO decides it. Imports no torch.

Shapes: k corners, E points along the edges, T places where a column's pixels begin or end to be inside.
"""

import numpy as np
import numpy.typing as npt

from src.evaluation.pixels.crops import Crop

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FINE = 5  # times as fine as pixels: the grid that corners are rounded to
FARTHEST = 2  # times the image's side: corners beyond are moved there, since their edges are walked along


def filled(points_k2: Floats, size_wh: tuple[int, int]) -> Crop:
    """The pixels inside one polygon, in an image of this size; corners x, y in its pixels. Edges that cross make holes.

    As `rleFrPoly` of cocoapi (common/maskApi.c): a pixel counts if its middle lies inside, up to rounding.
    """
    columns_T, rows_T = crossings(points_k2, size_wh)
    if not len(columns_T):
        return Crop.empty()
    left, top = int(columns_T.min()), int(rows_T.min())
    width, height = int(columns_T.max()) + 1 - left, int(rows_T.max()) - top
    # Each column has an even number of crossings, so none goes on in the next. A crossing below the last row has a
    # place of its own.
    turns = np.bincount((columns_T - left) * (height + 1) + rows_T - top, minlength=width * (height + 1))
    inside = (np.cumsum(turns) & 1).astype(np.bool_).reshape(width, height + 1)[:, :height].T
    return Crop(left, top, np.ascontiguousarray(inside))


def crossings(points_k2: Floats, size_wh: tuple[int, int]) -> tuple[Ints, Ints]:
    """Columns 0..W-1 and rows 0..H [T]: from there down a column, inside becomes outside and the other way round."""
    us_E, vs_E = walked(points_k2, size_wh)
    turn = us_E[1:] != us_E[:-1]
    fine_x = np.where(us_E[1:] < us_E[:-1], us_E[1:], us_E[1:] - 1)[turn]
    fine_y = np.minimum(vs_E[1:], vs_E[:-1])[turn]
    columns = (fine_x - FINE // 2) // FINE
    kept = ((fine_x - FINE // 2) % FINE == 0) & (columns >= 0) & (columns < size_wh[0])
    rows = np.ceil(np.clip((fine_y[kept] + 0.5) / FINE - 0.5, 0, size_wh[1]))
    return columns[kept], rows.astype(np.int64)


def walked(points_k2: Floats, size_wh: tuple[int, int]) -> tuple[Ints, Ints]:
    """All places of the finer grid along the edges, x [E] and y [E], in order and back to the first corner."""
    sides = np.array(size_wh, dtype=np.float64)
    corners = np.clip(points_k2, -FARTHEST * sides, FARTHEST * sides)
    grid = np.trunc(FINE * corners + 0.5).astype(np.int64)
    start, end = grid, np.roll(grid, -1, axis=0)
    across_down = np.abs(end - start)
    flat = across_down[:, 0] >= across_down[:, 1]
    steps = across_down.max(axis=1)
    back = np.where(flat, start[:, 0] > end[:, 0], start[:, 1] > end[:, 1])
    first, last = np.where(back[:, None], end, start), np.where(back[:, None], start, end)
    edge = np.repeat(np.arange(len(grid)), steps + 1)
    walked_steps = np.arange(len(edge)) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)
    step = np.where(back[edge], steps[edge] - walked_steps, walked_steps)
    rise = np.where(flat, last[:, 1] - first[:, 1], last[:, 0] - first[:, 0]) / np.maximum(steps, 1)
    along = np.where(flat, first[:, 0], first[:, 1])[edge] + step
    beside = np.trunc(np.where(flat, first[:, 1], first[:, 0])[edge] + rise[edge] * step + 0.5).astype(np.int64)
    return np.where(flat[edge], along, beside), np.where(flat[edge], beside, along)
