"""SLURM, torchrun and launchers of sweeps, as far as they can be tried without them. docs/clusters.md has the rest."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Answer, Run, compose, run_train
from lightning import Trainer
from omegaconf import OmegaConf
from support.resumed import assert_same_end
from support.watching import TRUSTED, watched

from src.build.trainer import find_environment
from src.cli.launch import check_launch
from src.cli.sweep_job import keep_one_gpu, visible_gpus, wants_one_gpu
from src.settings.errors import RunStopped
from src.sweeps.table import SweepTable


@pytest.fixture
def plain(colors: Path) -> tuple[str, ...]:
    """Eleven batches an epoch."""
    return ("data=folder", f"data.root={colors}", "data.image_size_px=32", "data.batch_size=4", "test=false")


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC_", "CUDA_VISIBLE")):
            monkeypatch.delenv(name)


def program(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name in front of all others."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


# --------------------------------------------------------------------------------------------------------- signals

NOT_PREEMPTED = "PreemptEligibleTime=2026-11-23T22:13:59 PreemptTime=None"
PREEMPTED = "PreemptEligibleTime=2026-11-23T22:13:59 PreemptTime=2026-11-23T22:14:04"
ARRAY = {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "8", "SLURM_ARRAY_TASK_ID": "1"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "environ", "facts", "asked"),
    [
        (signal.SIGUSR1, {"SLURM_JOB_ID": "7"}, NOT_PREEMPTED, ["requeue 7"]),
        (signal.SIGTERM, ARRAY, PREEMPTED, ["show job 8_1", "requeue 8_1"]),
        (signal.SIGTERM, {"SLURM_JOB_ID": "7"}, NOT_PREEMPTED, ["show job 7"]),  # scancel
        (signal.SIGTERM, {}, PREEMPTED, []),
    ],
)
def test_a_signal_saves_and_in_slurm_requeues_and_the_run_goes_on(
    tmp_path: Path,
    plain: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    environ: dict[str, str],
    facts: str,
    asked: list[str],
) -> None:
    whole = run_train(tmp_path / "whole", *plain)

    def send(trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 4:
            os.kill(os.getpid(), number)

    calls = tmp_path / "calls"
    calls.touch()
    program(tmp_path / "bin", "scontrol", f"echo \"$@\" >> {calls}\necho '   {facts}'", monkeypatch)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with watched(on_train_batch_start=send) as watching, pytest.raises(RunStopped) as stopped:
        run_train(tmp_path / "run", *plain, *watching, "resume=auto")
    assert stopped.value.status == 143 and f"{number.name}: saved after step 5" in str(stopped.value)
    assert calls.read_text().splitlines() == asked
    run = run_train(tmp_path / "run", *plain, *watching, "resume=auto", TRUSTED)
    assert_same_end(run, whole)
    assert "There is no checkpoint in" in run.log and "Resuming" in run.log


def test_a_requeue_that_slurm_refuses_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from src.training.interruption import requeue

    monkeypatch.setenv("SLURM_JOB_ID", "7")
    program(tmp_path / "bin", "scontrol", "echo 'Requested operation is presently disabled' >&2; exit 1", monkeypatch)
    requeue()
    assert "SLURM did not put job 7 back into the queue: Requested operation is presently disabled" in caplog.text


# ----------------------------------------------------------------------------------------------------- resume=auto


@pytest.mark.slow
def test_resume_auto_takes_new_values_but_not_for_what_the_checkpoint_holds(
    tmp_path: Path, plain: tuple[str, ...], command
) -> None:
    run_train(tmp_path / "run", *plain, "trainer.max_epochs=1")
    common = [*plain, "trainer=cpu", "data.num_workers=0", "logger=none", "data.cache=none", "resume=auto"]
    answer: Answer = command("train", *common, f"output_dir={tmp_path}/run", "optimizer.lr=0.5")
    assert answer.status == 1 and "cannot be combined with resume: a resumed run keeps its optimizer" in answer.err
    answer = command("train", *common, f"output_dir={tmp_path}/run", "trainer.max_epochs=2")
    assert answer.status == 0 and "Changed on resuming: trainer.max_epochs=2" in answer.err
    assert Run(tmp_path / "run", None).metrics["epochs"] == 2


@pytest.mark.parametrize(
    ("arguments", "environ", "text"),
    [
        (["resume=auto"], {}, "give output_dir=<dir>"),
        (["-m", "seed=0,1", "resume=auto"], {}, "give hydra.sweep.dir=<dir>"),
        (["sweep=seeds", "resume=auto"], {}, "give hydra.sweep.dir=<dir>"),
        (["-m", "seed=0,1", "resume=auto", "output_dir=x"], {}, "give hydra.sweep.dir=<dir>"),
        ([], {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2"}, "have to agree on a directory"),
        (["-m", "seed=0,1"], {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2"}, "leave torchrun or srun out"),
        (["-m"], {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2"}, "leave torchrun or srun out"),
    ],
)
def test_launches_that_cannot_work_are_refused(
    command, monkeypatch: pytest.MonkeyPatch, arguments: list[str], environ: dict[str, str], text: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    answer: Answer = command("train", *arguments)
    assert answer.status == 1 and text in answer.err and "Importing torch" not in answer.err


def test_resume_auto_goes_on_with_a_sweep_that_has_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    check_launch(["-m", "seed=0,1", "resume=auto", "hydra.sweep.dir=logs/sweeps/a"])
    check_launch(["sweep=folds", "resume=auto", "hydra.sweep.dir=logs/sweeps/a"])
    check_launch(["resume=auto", "output_dir=logs/runs/a"])
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_launch(["resume=auto"])


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, []),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_STEP_ID": "0", "SLURM_NTASKS_PER_NODE": "2"}, ["SLURM"]),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2"}, ["Lightning"]),  # a batch script without srun
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_STEP_ID": "0"}, ["Lightning"]),  # submitit
        ({"SLURM_JOB_ID": "7", "TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2"}, []),  # srun torchrun
    ],
)
def test_who_starts_the_processes(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], found: list[str]) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert [type(one).__name__.removesuffix("Environment") for one in find_environment()] == found


# ------------------------------------------------------------------------------------------------ one GPU per process


def test_processes_of_a_sweep_share_the_gpus_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "nvidia-smi", "printf 'GPU 0: A (UUID: GPU-1)\\nGPU 1: A (UUID: GPU-2)\\n'", monkeypatch)

    def take() -> str | None:
        """What a process gets."""
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        keep_one_gpu(tmp_path)
        return os.environ.get("CUDA_VISIBLE_DEVICES")

    at_the_end: list[Callable[[], None]] = []  # of each process: it gives its GPU back
    monkeypatch.setattr("src.cli.sweep_job.atexit", SimpleNamespace(register=at_the_end.append))
    assert [take() for _ in range(5)] == ["0", "1", "0", "1", "0"]
    keep_one_gpu(tmp_path)  # the same process's next job
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0" and len(at_the_end) == 5
    at_the_end[1]()  # that process has ended
    assert take() == "1"


@pytest.mark.parametrize(
    ("allowed", "gpus"), [(None, ["0", "1"]), ("3,5", ["3", "5"]), ("GPU-8f", ["GPU-8f"]), ("", [])]
)
def test_gpus_that_a_process_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: str | None, gpus: list[str]
) -> None:
    program(tmp_path / "bin", "nvidia-smi", "printf 'GPU 0: A\\n  MIG 1g\\nGPU 1: A\\n'", monkeypatch)
    if allowed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert visible_gpus() == gpus


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [([], True), (["trainer=gpu"], True), (["trainer=cpu"], False), (["trainer.devices=[1]"], False),
     (["trainer.devices=2"], False)],
)  # fmt: skip
def test_who_wants_one_gpu(settings: list[str], wanted: bool) -> None:
    trainer = compose(*settings, "output_dir=x").trainer
    assert wants_one_gpu(trainer.accelerator, trainer.devices) is wanted


# ------------------------------------------------------------------------------- sweeps whose jobs run somewhere else


def job(sweep: Path, number: int, ended: bool, seed: int, metrics: dict[str, float] | None, error: str = "") -> None:
    folder = sweep / f"{number}_seed={seed}"
    folder.mkdir(parents=True)
    facts = {"number": number, "ended": ended, "monitor": "val/acc", "mode": "max", "settings": {"seed": str(seed)}}
    (folder / "job.json").write_text(json.dumps(facts))
    if metrics is not None:
        (folder / "metrics.json").write_text(json.dumps(metrics))
    if error:
        (folder / "error.txt").write_text(f"Traceback (most recent call last):\n{error}\n")


def test_the_table_is_made_from_the_folders_and_names_jobs_that_were_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path / "sweep")}}})
    job(tmp_path / "sweep", 7, True, 7, {"val/acc": 0.99})
    SweepTable().on_multirun_start(config)  # an older sweep's
    job(tmp_path / "sweep", 10, True, 10, {"val/acc": 0.8})
    job(tmp_path / "sweep", 2, True, 2, {"val/acc": 0.7, "fit_seconds": 3.0})
    job(tmp_path / "sweep", 0, True, 0, None, "No space left")
    job(tmp_path / "sweep", 1, False, 1, {"val/acc": 0.9})
    with pytest.raises(SystemExit) as end:
        SweepTable().on_multirun_end(config)
    rows = Run(tmp_path / "sweep", None).csv("sweep.csv")
    assert [(row["job"], row["status"]) for row in rows[:4]] == [
        ("10_seed=10", "done"), ("2_seed=2", "done"), ("0_seed=0", "failed"), ("1_seed=1", "failed"),
    ]  # fmt: skip
    out, err = capsys.readouterr()
    assert end.value.code == 1 and err == "2 jobs of the sweep failed: 0_seed=0, 1_seed=1\n"
    assert "4 jobs, best val/acc first" in out and "Job 0_seed=0 failed: No space left" in out
    assert "Job 1_seed=1 failed: ended without a result" in out
    assert not list((tmp_path / "sweep").glob(".*part*"))


def test_a_launcher_that_fails_is_told_in_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command) -> None:
    from hydra._internal.hydra import Hydra

    class TerminatedWorkerError(RuntimeError):
        """joblib's, when one of its processes is killed."""

    def multirun(*_: Any, **__: Any) -> None:
        raise TerminatedWorkerError("A worker process was unexpectedly terminated.\nMore about it")

    monkeypatch.setattr(Hydra, "multirun", multirun)
    answer: Answer = command("train", "-m", "seed=0,1", f"hydra.sweep.dir={tmp_path}/sweep")
    assert answer.status == 1 and "Traceback" not in answer.err and "resume=auto goes on with its jobs" in answer.err
    assert "aborted. TerminatedWorkerError: A worker process was unexpectedly terminated" in answer.err


@pytest.mark.slow
def test_a_sweep_goes_on_where_it_was(tmp_path: Path, plain: tuple[str, ...], command) -> None:
    common = [
        "-m", *plain, "seed=0,1", "trainer=cpu", "trainer.max_epochs=1", "data.num_workers=0", "logger=none",
        f"hydra.sweep.dir={tmp_path}/sweep", "resume=auto",
    ]  # fmt: skip
    first: Answer = command("train", *common)
    assert first.status == 0, first.err
    (tmp_path / "sweep" / "0_seed=0" / "error.txt").write_text("Killed\n")  # of an earlier try
    second: Answer = command("train", *common)
    assert second.status == 0 and second.err.count("Resuming") == 2 and "epoch 1/1" not in second.err
    rows = Run(tmp_path / "sweep", None).csv("sweep.csv")
    assert [row["status"] for row in rows[:2]] == ["done", "done"]
