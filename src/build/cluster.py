"""Who starts the processes of a run."""

import os

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from src.cli.launch import launched_id


def find_environment() -> list[ClusterEnvironment]:
    """Who starts the processes of a run inside a job of SLURM: srun if it started several, else Lightning.

    Lightning itself takes any job of SLURM for one of srun's, and would wait for processes that nobody starts. Empty
    outside SLURM and under torchrun, where Lightning sees by itself what to do.
    """
    if "SLURM_JOB_ID" not in os.environ or "TORCHELASTIC_RUN_ID" in os.environ:
        return []
    if launched_id() is None:
        return [LightningEnvironment()]
    return [SLURMEnvironment(auto_requeue=False)]  # src/training/interruption.py does it, phase and step included
