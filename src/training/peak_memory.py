"""The most memory that a run has had in use at once."""

import sys
from contextlib import suppress

import torch


def peak_memory() -> dict[str, float]:
    """Of this process, and of its GPU, in MiB; empty where the system does not say."""
    memory = {}
    with suppress(ImportError):  # Windows
        import resource

        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        memory["peak_memory_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)
    if torch.cuda.is_available():
        memory["peak_gpu_memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return memory
