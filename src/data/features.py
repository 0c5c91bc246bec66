"""What the frozen part of a network makes of the images, computed once: then only the head trains."""

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from src.data.dataset import MAX_SUBSTITUTES, Batch
from src.data.samplers import Draw
from src.data.table import ImageTable
from src.data.targets import Rows


class FrozenNetwork(Protocol):
    """A network of which only the head trains."""

    def frozen_fingerprint(self) -> str:
        """Changes with the frozen weights and with the precision in which they compute."""

    def frozen_features(self, images_BCHW: Tensor) -> Tensor:
        """What the head gets to see of images uint8 [B, 3, H, W]."""


class FeatureDataset(Dataset[Batch]):
    """What the frozen network made of each image of a split, batch by batch; damage is as in ImageDataset.

    Args:
        table, rows, substitute: as in ImageDataset.
        features_VN: [views, N, ...]; epoch e sees view e modulo views.
        reasons: why a position has no image, for those that have none.
    """

    def __init__(
        self, table: ImageTable, rows: Rows, substitute: bool, features_VN: Tensor, reasons: dict[int, str]
    ) -> None:
        self.table, self.rows, self.substitute, self.features_VN, self.reasons = (
            table, rows, substitute, features_VN, reasons,
        )  # fmt: skip
        self.kept_open: Any = None  # the lock of the features' file

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, draws: list[Draw]) -> Batch:
        view, positions = 0, list[int]()
        unreadable: list[tuple[str, str]] = []
        most_tries = min(MAX_SUBSTITUTES, len(self)) if self.substitute else 1
        for number, (epoch, first) in enumerate(draws):
            view = epoch % len(self.features_VN)
            in_vain = len(positions) < number  # as in ImageDataset
            for offset in range(1 if in_vain else most_tries):
                position = (first + offset) % len(self)
                if position not in self.reasons:
                    positions.append(position)
                    break
                unreadable.append((str(self.table.paths[self.rows[position]]), self.reasons[position]))
        rows = self.rows[positions]
        return {
            "features": self.features_VN[view, positions],
            "label": torch.from_numpy(self.table.targets.take(rows).values),
            "index": torch.from_numpy(rows),
            "unreadable": unreadable,
        }
