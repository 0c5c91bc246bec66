"""What a later reader needs to repeat a run: versions, commit, command, machine, data."""

import platform
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from src.runs.record import PACKAGES
from src.settings.project import PROJECT_ROOT


def environment(fingerprint: str) -> dict[str, Any]:
    """As it stands in environment.json."""
    module = Path(sys.argv[0]).name
    if not module.startswith("src.") and (spec := getattr(sys.modules["__main__"], "__spec__", None)) is not None:
        module = spec.name  # of a command; what Python code calls says its own name (src/library.py)
    return {
        "command": " ".join([Path(sys.executable).name, "-m", module, *sys.argv[1:]]),
        "git_commit": git("rev-parse", "HEAD"),
        "git_dirty": bool(git("status", "--porcelain")),
        "data_fingerprint": fingerprint,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def git(*arguments: str) -> str | None:
    """Output of a git command in the project; None outside a repository or without git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


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
