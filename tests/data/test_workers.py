"""Reading processes: as many as fit into shared memory, and a message instead of a hang where one is lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import typed
from torch.utils.data import DataLoader, Dataset

from src.build.data import build_datamodule
from src.cli.mistakes import lost_workers_told
from src.data.workers import SHARED_MEMORY, begin_worker, workers_that_fit
from src.settings.errors import RunStopped
from src.settings.project import PROJECT_ROOT

MB = 1_000_000


def shared_memory_of(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="Linux")
@pytest.mark.parametrize(
    ("free_mb", "batches", "processes", "fitting"),
    [(1000, None, 1, 4), (60, None, 1, 4), (54, None, 1, 3), (54, 6, 1, 4), (60, None, 2, 1), (2, None, 1, 0)],
)
def test_as_many_workers_as_their_batches_leave_room_for(
    free_mb: int, batches: int | None, processes: int, fitting: int, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Of 5 MB each; a worker holds two ready, and the training has two."""
    shared_memory_of(monkeypatch, free_mb * MB)
    assert workers_that_fit(4, 5 * MB, batches, processes) == fitting
    assert (f"data.num_workers={fitting} for this run" in caplog.text) == (fitting < 4)


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="Linux")
def test_the_loaders_have_the_workers_that_fit(colors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ["data=folder", f"data.root={colors}", "data.num_workers=2", "data.batch_size=16", "data.cache=none"]
    data = build_datamodule(typed(*settings, "data.image_size_px=64"))
    assert data.val_dataloader().num_workers == 2
    shared_memory_of(monkeypatch, 300_000)  # a batch has 196,608 bytes
    loader = data.train_dataloader()
    assert loader.num_workers == 0 and not loader.persistent_workers
    assert sum(len(batch["label"]) for batch in loader) == 42


class Killed(Dataset[int]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, position: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0


class NotToBeSent(Killed):
    def __getitem__(self, position: int) -> Any:
        return threading.Lock()


@pytest.mark.parametrize(("dataset", "how"), [(Killed(), "killed by signal: Killed"), (NotToBeSent(), "was lost")])
def test_a_lost_worker_ends_the_run_with_a_message(dataset: Dataset[Any], how: str) -> None:
    loader = DataLoader(dataset, num_workers=1, collate_fn=list, worker_init_fn=begin_worker)
    with pytest.raises(RunStopped, match=rf"(?s){how}.*lower data\.num_workers"), lost_workers_told():
        list(loader)


SAYS_WHO = pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="nobody can tell who sent a signal")


class Stopped(Killed):
    """As a cluster does it: each process of the group is told."""

    def __getitem__(self, position: int) -> int:
        if position == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return position


@SAYS_WHO
def test_a_worker_goes_on_when_the_whole_group_is_told_to_end() -> None:
    """The training saves first, and it needs its batches until then."""
    loader = DataLoader(Stopped(), num_workers=1, collate_fn=list, worker_init_fn=begin_worker)
    with lost_workers_told():
        assert list(loader) == [[position] for position in range(8)]


class Hangs(Killed):
    def __getitem__(self, position: int) -> int:
        if position:
            time.sleep(600)
        return position


def test_the_training_can_end_a_worker_that_hangs() -> None:
    loader = DataLoader(Hangs(), num_workers=1, collate_fn=list, worker_init_fn=begin_worker)
    batches: Any = iter(loader)
    assert next(batches) == [0]
    worker = batches._workers[0]
    worker.terminate()
    worker.join(20)
    assert worker.exitcode == 0


@SAYS_WHO
@pytest.mark.slow
def test_sigterm_for_the_whole_group_saves_the_run(colors: Path, tmp_path: Path) -> None:
    given = ["data=folder", f"data.root={colors}", "data.image_size_px=32", "trainer=cpu", "logger=none"]
    given += ["data.num_workers=2", "trainer.max_epochs=500", f"output_dir={tmp_path}/run"]
    command = [sys.executable, "-m", "src.train", *given]
    run = subprocess.Popen(command, cwd=PROJECT_ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert run.stderr is not None
    for line in run.stderr:
        if "epoch" in line and "val/acc" in line:
            break
    os.killpg(run.pid, signal.SIGTERM)
    rest = run.stderr.read()
    assert run.wait(60) == 143 and "SIGTERM: saved after step" in rest and "was lost" not in rest, rest
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes do not fit"), lost_workers_told():
        raise RuntimeError("shapes do not fit")


# The command as `python -m src.train` runs it on Windows and macOS, whose processes start anew and import everything.
SPAWNING = (
    "import multiprocessing, runpy; multiprocessing.set_start_method('spawn'); "
    "runpy.run_module('src.train', run_name='__main__', alter_sys=True)"
)


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["none", "images"])
def test_workers_that_start_anew_read_the_same_images(cache: str, colors: Path, tmp_path: Path) -> None:
    """As on Windows and macOS. What a worker needs can be sent to it, and draws do not depend on the process."""
    losses = []
    for name, workers in (("one", 0), ("spawned", 2)):
        given = [
            "data=folder",
            f"data.root={colors}",
            "data.image_size_px=32",
            "trainer=cpu",
            "logger=none",
            "test=false",
        ]
        given += [f"data.cache={cache}", f"data.cache_dir={tmp_path}/cache", "augment=light", "trainer.max_epochs=1"]
        given += [f"data.num_workers={workers}", f"output_dir={tmp_path}/{name}", "data.batch_size=8"]
        run = subprocess.run(
            [sys.executable, "-c", SPAWNING, *given], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        losses.append(json.loads((tmp_path / name / "metrics.json").read_text())["val/loss"])
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_a_killed_worker_ends_a_command_without_a_traceback(colors: Path, tmp_path: Path) -> None:
    given = ["data=folder", f"data.root={colors}", "data.image_size_px=32", "trainer=cpu", "logger=none"]
    given += ["data.num_workers=1", "trainer.max_epochs=500", f"output_dir={tmp_path}/run"]
    run = subprocess.Popen(
        [sys.executable, "-m", "src.train", *given], cwd=PROJECT_ROOT, stderr=subprocess.PIPE, text=True
    )
    assert run.stderr is not None
    for line in run.stderr:
        if "epoch" in line and "val/acc" in line:
            break
    workers = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    rest = run.stderr.read()
    assert run.wait(60) == 1 and "lower data.num_workers" in rest and "Traceback" not in rest
