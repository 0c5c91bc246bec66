"""One job of a sweep: here, on a GPU of its own, or in a process of its own that may start others."""

import atexit
import itertools
import json
import logging
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf

from src.cli.launch import launched_id, safe_name
from src.cli.mistakes import fail, is_bug, message_of
from src.settings.errors import TERMINATED, ConfigError, RunStopped
from src.settings.schema import TrainConfig

log = logging.getLogger(__name__)

Task = Callable[[DictConfig], float | None]

SWEEP_GOES_ON = "The same command with hydra.sweep.dir=<the sweep's folder> resume=auto goes on with its jobs."
JOB_OPTION = "--job"  # before a job's config.yaml: the whole command line of a job that trains in several processes
LOG_LINE = re.compile(r"\d\d:\d\d:\d\d ")


def run_sweep_job(task: Task, cfg: DictConfig, config_name: str, failed: list[str]) -> float | None:
    """The result of a job; not a number if it fails: then `error.txt` in its folder says why, and `failed` names it."""
    number, output_dir = HydraConfig.get().job.num, Path(HydraConfig.get().runtime.output_dir)
    (output_dir / "error.txt").unlink(missing_ok=True)  # of an earlier try, if the job goes on with it
    try:
        if "trainer" not in cfg:
            return task(cfg)
        accelerator, devices = cfg.trainer.accelerator, cfg.trainer.devices
        if "joblib" in str(HydraConfig.get().launcher._target_) and wants_one_gpu(accelerator, devices):
            keep_one_gpu(output_dir.parent)
        if launched_id() is not None or not wants_processes(devices):
            return task(cfg)
        (output_dir / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True), encoding="utf-8")
        return run_in_processes(output_dir, config_name, cfg.task.monitor)
    except Exception as error:
        if isinstance(error, RunStopped) and error.status == TERMINATED:
            fail(f"{error}\n{SWEEP_GOES_ON}", error.status)  # the whole sweep was told to end
        text = traceback.format_exc() if is_bug(error) else message_of(error)
        (output_dir / "error.txt").write_text(text + "\n", encoding="utf-8")
        log.error("Job %s failed: %s", number, text)
        failed.append(output_dir.name)
        return float("nan")


def wants_processes(devices: Any) -> bool:
    """Whether a job with these trainer.devices trains in more than one process on this machine. `auto` is one."""
    return len(devices) > 1 if isinstance(devices, ListConfig) else str(devices) not in ("auto", "0", "1")


def run_in_processes(output_dir: Path, config_name: str, monitor: str) -> float | None:
    """Train by <output_dir>/config.yaml in a process of its own, which starts the others by its own command line.

    From here, that would be the whole sweep's. Returns the monitored metric; raises ConfigError if the job failed.
    """
    typed = [sys.executable, "-m", f"src.{config_name}", JOB_OPTION, str(output_dir / "config.yaml")]
    done = subprocess.run(typed, stderr=subprocess.PIPE, text=True, errors="backslashreplace")
    sys.stderr.write(done.stderr)
    if done.returncode == TERMINATED:
        raise RunStopped("The job was told to end.", TERMINATED)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if not LOG_LINE.match(line)]
        raise ConfigError("\n".join(lines) or f"The job ended with exit status {done.returncode}.")
    metrics = json.loads((output_dir / "metrics.json").read_text(encoding="utf-8"))
    return cast(float | None, metrics.get(monitor))


def read_job_settings(file: Path) -> DictConfig:
    """What a sweep wrote for such a job: every process gets the very same settings, whatever sweeper chose them."""
    return cast(DictConfig, OmegaConf.merge(OmegaConf.structured(TrainConfig), OmegaConf.load(file)))


def wants_one_gpu(accelerator: str, devices: Any) -> bool:
    """By trainer.accelerator and trainer.devices."""
    return accelerator not in ("cpu", "mps") and str(devices) in ("auto", "1")


def keep_one_gpu(sweep_dir: Path) -> None:
    """Show this process one GPU, whichever the fewest other processes of the sweep have: else all would use the first.

    joblib's processes run one job after the other, and CUDA cannot change its GPU once it has started; so a process
    keeps its GPU for all its jobs, and the lock on it, until it ends, however that happens.
    """
    from filelock import FileLock, Timeout

    gpus = visible_gpus()
    if len(gpus) < 2:  # as from the second job on
        return
    for round_, gpu in ((n, gpu) for n in itertools.count() for gpu in gpus):
        lock = FileLock(sweep_dir / f".gpu_{safe_name(gpu)}_{round_}")
        with suppress(Timeout):
            lock.acquire(timeout=0)
            atexit.register(lock.release)  # until then it is not collected, which would release it
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            return


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
