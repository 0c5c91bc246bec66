"""The GPUs of a sweep whose jobs run side by side: each process has one. Found without torch."""

import atexit
import itertools
import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.cli.launch import safe_name

if TYPE_CHECKING:
    from filelock import BaseFileLock


def wants_one_gpu(accelerator: str, devices: Any) -> bool:
    """By trainer.accelerator and trainer.devices."""
    return accelerator not in ("cpu", "mps") and str(devices) in ("auto", "1")


def keep_one_gpu(sweep_dir: Path) -> "BaseFileLock | None":
    """Show this process one GPU, whichever the fewest other processes of the sweep have: else all would use the first.

    joblib's processes run one job after the other, and CUDA cannot change its GPU once it has started; so a process
    keeps its GPU for all its jobs, and the lock on it, which is returned, until it ends, however that happens. None if
    it sees one GPU alone, as it does from its second job on.
    """
    from filelock import FileLock, Timeout

    gpus = visible_gpus()
    if len(gpus) < 2:
        return None
    for round_, gpu in ((n, gpu) for n in itertools.count() for gpu in gpus):
        lock = FileLock(sweep_dir / f".gpu_{safe_name(gpu)}_{round_}")
        with suppress(Timeout):
            lock.acquire(timeout=0)
            atexit.register(lock.release)  # until then it is not collected, which would release it
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            return lock
    return None


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [gpu.strip() for gpu in allowed.split(",") if gpu.strip()]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    except OSError:
        return []
    return re.findall(r"^GPU (\d+):", listed, re.MULTILINE)
