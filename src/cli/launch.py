"""Who started this process, and whether the processes of a run can agree on what to do."""

import os
import re
from collections.abc import Sequence

from src.cli.command_line import is_sweep
from src.settings.errors import ConfigError


def check_launch(arguments: Sequence[str]) -> None:
    """Raise ConfigError where processes that something else started could not agree on what to do."""
    given, sweeping = {text.partition("=")[0]: text.partition("=")[2] for text in arguments}, is_sweep(arguments)
    named = not given.keys().isdisjoint(("hydra.sweep.dir",) if sweeping else ("output_dir", "hydra.run.dir"))
    resume = given.get("resume")
    if sweeping and "output_dir" in given:
        raise ConfigError("Each job of a sweep has a directory of its own: give hydra.sweep.dir=<dir>, not output_dir.")
    if sweeping and resume not in (None, "auto", "null"):
        raise ConfigError(
            "resume=<run> goes on with one run, and a sweep has several: hydra.sweep.dir=<dir> resume=auto."
        )
    if launched_id() is not None and sweeping:
        raise ConfigError(
            "A sweep starts the processes of its jobs itself: leave torchrun or srun out, and set trainer.devices."
        )
    if launched_id() == "" and not named and resume is None:
        raise ConfigError(
            "The processes that torchrun started have to agree on a directory: give output_dir=<dir>, or give torchrun "
            "--rdzv-id=<a new name> (--standalone has one of its own)."
        )
    if resume == "auto" and sweeping and not named:
        raise ConfigError("resume=auto goes on with the jobs of a sweep's folder: give hydra.sweep.dir=<dir>.")
    if resume == "auto" and not named and not launched_id():
        raise ConfigError("resume=auto goes on with the run in output_dir, if there is one: give output_dir=<dir>.")


def launched_id() -> str | None:
    """What names this start of several processes by torchrun or srun, the same on all of them; None if it is none.

    An empty text if torchrun was given no name.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        name = os.environ["TORCHELASTIC_RUN_ID"]
        return "" if name == "none" else safe_name(name)
    if "SLURM_STEP_ID" in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) > 1:
        return f"{os.environ['SLURM_JOB_ID']}.{os.environ['SLURM_STEP_ID']}"
    return None


def process_rank() -> int:
    """Of this process among all of a run: as torchrun, srun or Lightning, in this order, have numbered it."""
    names = ("RANK", "SLURM_PROCID" if launched_id() else "LOCAL_RANK", "LOCAL_RANK")
    return next((int(os.environ[name]) for name in names if name in os.environ), 0)


def safe_name(text: str) -> str:
    return re.sub(r"[^\w.=,+-]+", "-", str(text)).strip("-").rstrip(".")  # which Windows would drop
