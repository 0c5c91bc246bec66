"""What this machine computes on, and in which precision."""

import ctypes
import sys

import torch

from src.settings.errors import ConfigError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt, malloc.h
KEPT_BYTES = 2**30


def find_accelerator(wanted: str) -> str:
    """cpu, gpu (CUDA or ROCm) or mps; `auto` is the best there is. Raises ConfigError if it is not there."""
    there = {"gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, available in there.items() if available)
    if not there.get("gpu" if wanted == "cuda" else wanted, True):
        have = ", ".join(name for name, available in there.items() if available)
        raise ConfigError(f"trainer.accelerator={wanted}: this machine has no such device. Available: {have}.")
    return wanted


def find_precision(wanted: str, accelerator: str) -> str:
    """What `auto` means here: bf16-mixed where the GPU computes in bf16, else 32-true."""
    if wanted in ("16-mixed", "16-true") and accelerator == "cpu":
        raise ConfigError(
            f"trainer.precision={wanted} needs a GPU, and this run uses the CPU: leave it at auto, or use 32-true."
        )
    if wanted != "auto":
        return wanted
    bf16 = accelerator in ("gpu", "cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if bf16 else "32-true"


def keep_freed_memory() -> None:
    """Let this process keep what a step frees for the next one, where the C library is glibc.

    By itself it gives large blocks back to the system at once, and each page of them is zeroed anew in every step: of
    SqueezeNet on two cores that was a quarter of the step (docs/performance.md). The peak grows by some hundred MB.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
