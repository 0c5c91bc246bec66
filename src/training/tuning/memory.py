"""How much memory a step needs and how much there is: on NVIDIA and AMD GPUs, and on CPUs under Linux."""

from pathlib import Path

import torch

from src.settings.errors import ConfigError


def free_bytes(device: torch.device) -> int:
    """What this process can still take: on a GPU; or of RAM, before the kernel would kill it.

    Raises ConfigError on devices and systems where nothing tells.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    try:
        available = [1024 * kilobytes("/proc/meminfo", "MemAvailable")]
        group = Path("/sys/fs/cgroup") / Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip().lstrip("/")
        for folder in (group, *group.parents):  # a container's or a job's limit may lie well below the machine's memory
            limit, used = folder / "memory.max", folder / "memory.current"
            if limit.is_file() and limit.read_text().strip().isdigit():
                statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                cached = int(statistics["inactive_file"])  # pages of files, which give way
                available.append(int(limit.read_text()) - int(used.read_text()) + cached)
    except OSError as error:
        raise unknown_memory() from error
    if device.type != "cpu":
        raise unknown_memory()
    return min(available)


def reset_peak(device: torch.device) -> int:
    """What this process uses now, which `peak_bytes` counts from."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_reserved(device)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # man 5 proc_pid_clear_refs
    except OSError as error:
        raise unknown_memory() from error
    return peak_bytes(device)


def peak_bytes(device: torch.device) -> int:
    """The most memory that this process has used since the last `reset_peak`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return 1024 * kilobytes("/proc/self/status", "VmHWM")


def kilobytes(file: str, name: str) -> int:
    for line in Path(file).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise FileNotFoundError(f"{file} has no {name}")


def unknown_memory() -> ConfigError:
    return ConfigError(
        "batch_size_find=true knows how much memory there is on NVIDIA and AMD GPUs and on CPUs under Linux, and not "
        "here: set data.batch_size yourself."
    )
