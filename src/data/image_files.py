"""Images by path alone, for predictions: no labels, damaged files reported one by one."""

from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from src.data.decode import UnreadableImage, read_rgb
from src.data.transforms import Transform

Item = tuple[Tensor | None, str, str | None]  # (uint8 [3, H, W], path, reason why there is no image)


class FileDataset(Dataset[Item]):
    """Images at `paths`, relative to `folder`, in this order."""

    def __init__(self, folder: Path, paths: list[str], transform: Transform) -> None:
        self.folder, self.paths, self.transform = folder, paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Item:
        path = self.paths[index]
        try:
            return self.transform(read_rgb(self.folder / path, self.transform.needed_px)), path, None
        except UnreadableImage as error:
            return None, path, str(error)


def collate_files(items: list[Item]) -> tuple[Tensor, list[str], list[str | None]]:
    """uint8 images [readable, 3, H, W]; path and error (None if readable) of all."""
    images = [image for image, _, _ in items if image is not None]
    stacked = torch.stack(images) if images else torch.empty(0, dtype=torch.uint8)
    return stacked, [path for _, path, _ in items], [error for _, _, error in items]
