"""Who started this process, and whether the processes of a run can agree on what to do."""

import os
import re
from collections.abc import Sequence

from src.cli.command_line import is_sweep
from src.settings.errors import ConfigError


def check_launch(arguments: Sequence[str]) -> None:
    """Raise ConfigError where processes that something else started could not agree on what to do."""
    given = {text.partition("=")[0] for text in arguments}
    sweeping = is_sweep(arguments)
    named = bool({"hydra.sweep.dir"} & given if sweeping else {"output_dir", "hydra.run.dir"} & given)
    if sweeping and any(text.startswith("output_dir=") for text in arguments):
        raise ConfigError("Each job of a sweep has a directory of its own: give hydra.sweep.dir=<dir>, not output_dir.")
    if sweeping and any(
        text.startswith("resume=") and text not in ("resume=auto", "resume=null") for text in arguments
    ):
        raise ConfigError(
            "resume=<run> goes on with one run, and a sweep has several: hydra.sweep.dir=<dir> resume=auto."
        )
    if launched_id() is not None and sweeping:
        raise ConfigError(
            "A sweep starts the processes of its jobs itself: leave torchrun or srun out, and set trainer.devices."
        )
    if launched_id() == "" and not named and not any(text.startswith("resume=") for text in arguments):
        raise ConfigError(
            "The processes that torchrun started have to agree on a directory: give output_dir=<dir>, or give torchrun "
            "--rdzv-id=<a new name> (--standalone has one of its own)."
        )
    if "resume=auto" in arguments and sweeping and not named:
        raise ConfigError("resume=auto goes on with the jobs of a sweep's folder: give hydra.sweep.dir=<dir>.")
    if "resume=auto" in arguments and not named and not launched_id():
        raise ConfigError("resume=auto goes on with the run in output_dir, if there is one: give output_dir=<dir>.")


def launched_id() -> str | None:
    """What names this start of several processes by torchrun or srun, the same on all of them; None if it is none.

    An empty text if torchrun was given no name.
    """
    environ = os.environ
    if "TORCHELASTIC_RUN_ID" in environ and int(environ.get("WORLD_SIZE", 1)) > 1:
        name = environ["TORCHELASTIC_RUN_ID"]
        return "" if name == "none" else safe_name(name)
    if "SLURM_STEP_ID" in environ and int(environ.get("SLURM_NTASKS", 1)) > 1:
        return f"{environ['SLURM_JOB_ID']}.{environ['SLURM_STEP_ID']}"
    return None


def process_rank() -> int:
    """Of this process among all of a run: as torchrun, srun or Lightning, in this order, have numbered it."""
    names = ("RANK", "SLURM_PROCID" if launched_id() else "LOCAL_RANK", "LOCAL_RANK")
    return next((int(os.environ[name]) for name in names if name in os.environ), 0)


def safe_name(text: str) -> str:
    return re.sub(r"[^\w.=,+-]+", "-", str(text)).strip("-").rstrip(".")  # which Windows would drop
