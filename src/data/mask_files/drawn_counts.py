"""How many pixels of each class masks have that are drawn and lie in no files. Shapes: N images, K classes."""

from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from src.data.annotations.kept import code_stamp
from src.data.cache.entries import entry_name, open_entry
from src.data.cache.plan import CachePlan
from src.data.masks import count_pixels
from src.data.outlined_masks import OutlinedMasks
from src.data.reading import read_all

FILE = "pixels.npy"
CODE = ("src/data", "src/evaluation/pixels")


def drawn_counts(masks: OutlinedMasks, classes: int, cache: CachePlan, num_workers: int) -> npt.NDArray[np.int64]:
    """Pixels that are void and of each class, [N, 1 + K], from the cache if it has them; kept there otherwise."""
    rows = np.arange(len(masks.places))

    def count() -> npt.NDArray[np.int64]:
        counts = list(read_all(partial(counts_of, masks, classes), rows, num_workers, "draw masks"))
        return np.array(counts, dtype=np.int64).reshape(-1, 1 + classes)

    if cache.kind == "none":
        return count()
    folder = cache.folder / entry_name("drawn_masks", code_stamp(CODE), masks.stamp(), str(classes))
    fresh = list[npt.NDArray[np.int64]]()

    def fill(temporary: Path) -> None:
        fresh.append(count())
        np.save(temporary / FILE, fresh[0], allow_pickle=False)

    with open_entry(folder, fill, cache.most_gb):
        return fresh[0] if fresh else np.asarray(np.load(folder / FILE, allow_pickle=False), dtype=np.int64)


def counts_of(masks: OutlinedMasks, classes: int, row: int) -> npt.NDArray[np.int64]:
    return count_pixels(masks(row), classes)
