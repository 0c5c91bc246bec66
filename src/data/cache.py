"""What is computed once and kept on disk: decoded and resized pictures, and features of the frozen network.

An entry is a folder in `data.cache_dir`, named by a hash of everything that it depends on, among it the size and time
of each file. It is written under another name and renamed when it is complete. It may be deleted at any time.
"""

import hashlib
import json
import logging
import mmap
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from src.data.decode import UnreadableImage
from src.data.table import ImageTable, Rows
from src.data.transforms import Transform
from src.errors import ConfigError
from src.progress import progress_bar

log = logging.getLogger("src.data")

DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64)}


def entry_name(kind: str, *parts: str) -> str:
    return f"{kind}_{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:20]}"


@contextmanager
def new_entry(folder: Path) -> Iterator[Path]:
    """A folder to write to, which becomes `folder` at the end, unless something fails."""
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another run was faster
                raise
    except OSError as error:
        raise ConfigError(
            f"data.cache_dir='{folder.parent}' cannot be written ({error.strerror}): name another folder, or set "
            "data.cache=none."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_space(folder: Path, needed: int) -> None:
    """Raise ConfigError unless the disk has room for `needed` bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > 0.9 * free:
        raise ConfigError(
            f"data.cache needs {needed / 1e9:.1f} GB in data.cache_dir='{folder}', where {free / 1e9:.1f} GB are free: "
            "name another folder, or set data.cache=none."
        )


# ----------------------------------------------------------------------------------------------------------- pictures


class PreparedPictures(Dataset[tuple[npt.NDArray[np.uint8] | None, str]]):
    """The prepared picture at each position, uint8 [H, W, 3], or None and the reason."""

    def __init__(self, table: ImageTable, rows: Rows, transform: Transform) -> None:
        self.table, self.rows, self.transform = table, rows, transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[npt.NDArray[np.uint8] | None, str]:
        try:
            image = self.table.read(int(self.rows[position]), self.transform.needed_px)
            return np.asarray(self.transform.prepare(image)), ""
        except UnreadableImage as error:
            return None, str(error)


class ImageCache:
    """Prepared pictures of different sizes, one after the other in one file, which all processes map into memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with np.load(folder / "index.npz") as index:
            self.starts_N, self.sizes_N2 = index["starts"], index["sizes"]
        self.reasons: dict[str, str] = json.loads((folder / "unreadable.json").read_text(encoding="utf-8"))
        self.pixels: mmap.mmap | None = None  # opened by each process for itself

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "pixels": None}

    def __call__(self, position: int) -> Image.Image:
        """The picture at a position. Raises UnreadableImage."""
        if str(position) in self.reasons:
            raise UnreadableImage(self.reasons[str(position)])
        if self.pixels is None:
            with (self.folder / "pixels.bin").open("rb") as file:
                self.pixels = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        height, width = (int(side) for side in self.sizes_N2[position])
        start = int(self.starts_N[position])
        return Image.frombytes("RGB", (width, height), self.pixels[start : start + height * width * 3])


def cached_images(
    cache_dir: Path, table: ImageTable, rows: Rows, transform: Transform, settings: str, num_workers: int
) -> ImageCache:
    """The cache of these rows, filled first if it does not exist. `settings` says what `transform.prepare` does."""
    folder = cache_dir / entry_name("images", table.content_stamp(rows), settings)
    if not folder.is_dir():
        start = time.perf_counter()
        fill_images(folder, table, rows, transform, num_workers)
        log.info("Kept %s resized pictures in %s (%.1f s)", f"{len(rows):,}", folder, time.perf_counter() - start)
    return ImageCache(folder)


def fill_images(folder: Path, table: ImageTable, rows: Rows, transform: Transform, num_workers: int) -> None:
    loader = DataLoader(
        PreparedPictures(table, rows, transform), batch_size=16, num_workers=num_workers, collate_fn=list
    )
    starts_N, sizes_N2 = np.zeros(len(rows), dtype=np.int64), np.zeros((len(rows), 2), dtype=np.int32)
    reasons: dict[int, str] = {}
    position = end = 0
    with new_entry(folder) as temporary, progress_bar() as progress:
        bar = progress.add_task("resize and keep", total=len(rows), speed="", loss="")
        with (temporary / "pixels.bin").open("wb") as file:
            for batch in loader:
                for pixels_HW3, reason in batch:
                    if pixels_HW3 is None:
                        reasons[position] = reason
                    else:
                        starts_N[position], sizes_N2[position] = end, pixels_HW3.shape[:2]
                        end += file.write(pixels_HW3.tobytes())
                    position += 1
                if position == len(batch):
                    require_space(folder.parent, end // len(batch) * len(rows))
                progress.update(bar, completed=position)
            file.write(b"\0")  # an empty file cannot be mapped
        np.savez(temporary / "index.npz", starts=starts_N, sizes=sizes_N2)
        (temporary / "unreadable.json").write_text(json.dumps(reasons), encoding="utf-8")


# ----------------------------------------------------------------------------------------------------------- features


class FeatureCache:
    """`features_VN` [views, N, ...], mapped from a file, and for each position without a picture the reason."""

    def __init__(self, folder: Path) -> None:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        shape = facts["shape"]
        mapped = torch.from_file(
            str(folder / "features.bin"), shared=False, size=int(np.prod(shape)), dtype=DTYPES[facts["dtype"]]
        )
        self.features_VN = mapped.view(shape)
        self.reasons = {int(position): reason for position, reason in facts["unreadable"].items()}


def cached_features(
    cache_dir: Path,
    name: str,
    table: ImageTable,
    rows: Rows,
    views: int,
    batches_of_view: Callable[[int], Iterable[dict[str, Any]]],
    features_of: Callable[[Tensor], Tensor],
) -> FeatureCache:
    """The features of these rows, computed first if they are not there.

    Args:
        cache_dir: where entries are kept.
        name: of the entry.
        table: that the rows belong to.
        rows: of the split.
        views: how many times each picture is seen.
        batches_of_view: batches of pictures (see src/data/dataset.py) of all rows, for each view.
        features_of: what the frozen network makes of pictures uint8 [B, 3, H, W].
    """
    folder = cache_dir / name
    if not folder.is_dir():
        start = time.perf_counter()
        fill_features(folder, table, rows, views, batches_of_view, features_of)
        times = f" x {views} views" if views > 1 else ""
        log.info(
            "Kept what the frozen network makes of %s pictures%s in %s (%.1f s)",
            f"{len(rows):,}", times, folder, time.perf_counter() - start,
        )  # fmt: skip
    return FeatureCache(folder)


def fill_features(
    folder: Path,
    table: ImageTable,
    rows: Rows,
    views: int,
    batches_of_view: Callable[[int], Iterable[dict[str, Any]]],
    features_of: Callable[[Tensor], Tensor],
) -> None:
    position_of_row = np.full(len(table), -1)
    position_of_row[rows] = np.arange(len(rows))
    reasons: dict[str, str] = {}
    readable = torch.zeros(len(rows), dtype=torch.bool)
    kept: Tensor | None = None
    with new_entry(folder) as temporary, progress_bar() as progress:
        bar = progress.add_task("features", total=views * len(rows), speed="", loss="")
        for view in range(views):
            for batch in batches_of_view(view):
                reasons.update(batch["unreadable"])
                positions = torch.from_numpy(position_of_row[batch["index"].numpy()])
                if len(positions):
                    features = features_of(batch["image"]).cpu()
                    if kept is None:
                        kept = new_map(temporary / "features.bin", [views, len(rows), *features.shape[1:]], features)
                    kept[view, positions] = features
                    readable[positions] = True
                progress.update(bar, advance=len(positions))
        if kept is None:
            raise ConfigError("None of the pictures can be read.")
        missing = torch.nonzero(~readable).flatten().tolist()
        unreadable = {position: reasons[str(table.paths[rows[position]])] for position in missing}
        facts = {"shape": list(kept.shape), "dtype": str(kept.dtype), "unreadable": unreadable}
        (temporary / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def new_map(file: Path, shape: list[int], like: Tensor) -> Tensor:
    """A file of zeros as a tensor of the dtype of `like`: what is written to it goes to the file."""
    elements = int(np.prod(shape))
    require_space(file.parent, elements * like.element_size())
    return torch.from_file(str(file), shared=True, size=elements, dtype=like.dtype).view(shape)
