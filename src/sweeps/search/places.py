"""How many trials run at a time, and what each of them may use of the machine."""

import os

from src.cli.sweep_job import visible_gpus
from src.settings.errors import ConfigError
from src.sweeps.search.composing import Plan
from src.sweeps.search.settings import SearchSettings


def gpus_for(plan: Plan) -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them; none if trials do not use any."""
    return [] if plan.accelerator in ("cpu", "mps") else visible_gpus()


def places_for(settings: SearchSettings, plan: Plan, gpus: list[str]) -> int:
    """How many trials run at a time. Raises ConfigError if there are too few GPUs for that."""
    if not gpus:
        return settings.jobs or 1
    each = gpus_of_a_trial(plan)
    places = settings.jobs or max(1, len(gpus) // each)
    if each > 1 and places * each > len(gpus):
        raise ConfigError(
            f"search.jobs={places} with trainer.devices={plan.devices} for each trial needs {places * each} GPUs, and "
            f"there are {len(gpus)}: lower one of the two."
        )
    return places


def trial_environ(plan: Plan, place: int, places: int, gpus: list[str]) -> dict[str, str]:
    """Of the processes of the trials at one of the places at which trials run at the same time.

    Each has GPUs of its own, as many as a trial has processes, or, on the CPU, its share of the cores.
    """
    environ = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}  # which we have set
    if gpus:
        each = gpus_of_a_trial(plan)
        environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[(place * each + n) % len(gpus)] for n in range(each))
    elif places > 1:
        environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // places)))
    return environ


def gpus_of_a_trial(plan: Plan) -> int:
    devices = plan.devices
    if isinstance(devices, list):
        return len(devices)
    return int(devices) if str(devices).isdigit() else 1
