"""Random numbers that follow from what is drawn alone: (seed, epoch, image) or (seed, epoch, batch)."""

from functools import reduce

import torch

FACTOR = 1_000_003


def mixed_seed(*parts: int) -> int:
    """One seed for a generator from several whole numbers of at least 0, below 2^63."""
    return reduce(lambda mixed, part: (mixed * FACTOR + part) % (1 << 63), parts, 0)


class Seeded:
    """Within the block, torch's CPU random numbers follow from `parts` alone; afterwards they go on as before.

    Unlike torch.manual_seed this leaves the generators of accelerators alone.
    """

    def __init__(self, *parts: int) -> None:
        self.seed = mixed_seed(*(part + 1 for part in parts))

    def __enter__(self) -> None:
        self.state = torch.get_rng_state()
        torch.default_generator.manual_seed(self.seed)

    def __exit__(self, *_: object) -> None:
        torch.set_rng_state(self.state)
