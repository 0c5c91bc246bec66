"""How much time there is, and whether a candidate still fits into it."""

import time

from torch import Tensor

from src.data.cache.features import FrozenNetwork

CERTAIN = 0.25  # of the images: from there on a pass is finished, whatever its last quarter says


class DoesNotFit(Exception):
    """A pass over the images would take so many `seconds` more, if that is known, and only `left` of them are left."""

    def __init__(self, seconds: float | None, left: float) -> None:
        self.seconds, self.left = seconds, left


class Budget:
    """`minutes` from now on; None = as long as it takes."""

    def __init__(self, minutes: float | None) -> None:
        self.minutes, self.start = minutes, time.monotonic()

    @property
    def left_s(self) -> float:
        return float("inf") if self.minutes is None else 60 * self.minutes - (time.monotonic() - self.start)

    def require_some(self) -> None:
        """Raise DoesNotFit if nothing is left."""
        if self.left_s <= 0:
            raise DoesNotFit(None, self.left_s)


class WithinBudget:
    """A frozen network that stops when it is clear that `images` of them take longer than there is time.

    The first batch does not count: worker processes start then, and libraries look for their fastest kernels.
    """

    def __init__(self, network: FrozenNetwork, images: int, budget: Budget) -> None:
        self.network, self.images, self.budget = network, images, budget
        self.seen, self.first, self.began = 0, 0, 0.0

    def frozen_fingerprint(self) -> str:
        return self.network.frozen_fingerprint()

    def frozen_features(self, images_BCHW: Tensor) -> Tensor:
        features = self.network.frozen_features(images_BCHW)
        self.seen += len(images_BCHW)
        if not self.first:
            self.first, self.began = self.seen, time.monotonic()
        elif self.seen < CERTAIN * self.images:
            per_image = (time.monotonic() - self.began) / (self.seen - self.first)
            needed = per_image * (self.images - self.seen)
            if needed > self.budget.left_s:
                raise DoesNotFit(needed, self.budget.left_s)
        return features
