"""Several processes: equal weights on all of them, one process's metrics, one directory. On the CPU, with gloo."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from support.processes import free_port, run_two
from support.ranks import hashes_of, measured_alone, train_plans
from support.watching import spoilt, watched

pytestmark = pytest.mark.slow

PLANS = {
    "none": ["data.balanced_sampling=true", "ema_decay=0.9", "soup=2"],
    "head_only": ["freeze=head_only", "augment=none", "data.cache=features", "optimizer=sgd", "ema_decay=0.9"],
    "head_then_all": [
        "freeze=head_then_all", "freeze.phases.0.epochs=1", "data.cache=images", "augment.mixup=0.4",
        "head.start=pretrained",
    ],
    "gradual": [
        "freeze=gradual", "freeze.phases.0.epochs=1", "freeze.phases.1.epochs=1", "freeze.phases.2.epochs=1",
        "trainer.max_epochs=4", "trainer.accumulate_grad_batches=2", "param_groups.layer_decay=0.7", "head=mlp",
    ],
    "skip": ["on_nonfinite_loss=skip", "callbacks=early_stopping", "checkpoint_every_n_steps=2", "scheduler=plateau"],
}  # fmt: skip


def one_image_without_outputs(folder: Path, plan: str, **doing: Any) -> Any:
    """In the plan `skip`: one image, so one process at a time, has no finite output."""
    if plan != "skip":
        return watched(**doing)
    images = Run(folder / "none", None).csv("split.csv")
    rows = sorted(image["path"] for image in images)
    return spoilt(rows.index(next(image["path"] for image in images if image["split"] == "train")), **doing)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, colors: Path) -> Path:
    """A folder with a run for each plan, trained by two processes."""
    folder = tmp_path_factory.mktemp("two")
    common = [
        *("trainer.devices=2", "trainer.strategy=ddp", "data=folder", f"data.root={colors}", "data.image_size_px=32"),
        *("data.batch_size=4", "trainer.max_epochs=2", f"data.cache_dir={folder}/cache", "data.val_fraction=0.25"),
    ]
    train_plans(folder, {plan: [*common, *settings] for plan, settings in PLANS.items()}, one_image_without_outputs)
    return folder


@pytest.mark.parametrize("plan", PLANS)
def test_after_each_phase_both_processes_hold_the_same_weights(two: Path, plan: str) -> None:
    first, second = hashes_of(two, plan)
    phases = {"head_then_all": 2, "gradual": 4}.get(plan, 1)
    assert len(first) == phases == len(set(first)) and first == second


@pytest.mark.parametrize("plan", PLANS)
def test_metrics_are_those_of_one_process(two: Path, plan: str, command) -> None:
    run = Run(two / plan, None)
    for split in ("val", "test"):
        alone = measured_alone(run, split, command)
        for name, value in alone.items():
            if name.startswith(f"{split}/"):
                assert run.metrics[name] == pytest.approx(value, abs=1e-6), name
        rows, images = run.csv(f"report/{split}_predictions.csv"), run.csv("split.csv")
        assert sorted(row["path"] for row in rows) == sorted(p["path"] for p in images if p["split"] == split)


def test_one_log_one_line_an_epoch(two: Path) -> None:
    assert "epoch" in (two / "log_0.txt").read_text() and (two / "log_1.txt").read_text() == ""
    log = (two / "gradual" / "train.log").read_text()
    assert log.count("epoch 1/4") == 1 and log.count("Everything is in") == 1


def test_a_batch_without_a_finite_loss_is_left_out_on_both(two: Path) -> None:
    steps = Run(two / "skip", None).checkpoint("last")["optimizer_states"][0]["state"][0]["step"]
    batches = Run(two / "skip", None).metrics["steps"]
    assert batches - 4 <= int(steps) <= batches - 2  # once per epoch, or twice where it fills up the last batch


def run_command(*arguments: str, **environ: str) -> subprocess.Popen:
    environ = {**os.environ, "OMP_NUM_THREADS": "1", **environ}
    return subprocess.Popen([sys.executable, *arguments], stderr=subprocess.PIPE, text=True, env=environ)


def test_torchrun_with_two_nodes_makes_one_directory(tmp_path: Path, colors: Path) -> None:
    """Two simulated nodes of one process each on the loopback address."""
    port = free_port()
    settings = [
        *("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_nodes=2", "logger=none"),
        *("data=folder", f"data.root={colors}", "data.image_size_px=32", "trainer.max_epochs=1", "data.num_workers=0"),
        *("data.batch_size=8", f"output_dir={tmp_path}/run", "trainer.deterministic=true"),
    ]
    launch = [
        *("-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d"),
        *("--rdzv-id=test", f"--rdzv-endpoint=127.0.0.1:{port}", "--local-addr=127.0.0.1"),
    ]
    nodes = [run_command(*launch, "-m", "src.train", *settings) for _ in range(2)]
    errors = [node.communicate(timeout=240)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], errors
    run = Run(tmp_path / "run", None)
    assert "test/acc" in run.metrics and "Device: 2 x cpu" in run.log
    assert run.metrics["steps"] == 3  # 42 images, 2 x 8 a step
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_sweep_whose_jobs_train_in_two_processes(tmp_path: Path, colors: Path) -> None:
    sweep = run_command(
        *("-m", "src.train", "-m", "optimizer.lr=1e-4,1e-3", f"hydra.sweep.dir={tmp_path}/sweep", "trainer=ddp"),
        *("trainer.devices=2", "trainer.accelerator=cpu", "data=folder", f"data.root={colors}", "logger=none"),
        *("data.image_size_px=32", "trainer.max_epochs=1", "data.num_workers=0", "test=false"),
    )
    _, error = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, error
    names = ["0_optimizer.lr=0.0001", "1_optimizer.lr=0.001"]
    folders = sorted(path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert folders == names and (tmp_path / "sweep" / "sweep.csv").exists()
    for name, rate in zip(names, (1e-4, 1e-3), strict=True):
        run = Run(tmp_path / "sweep" / name, None)
        assert run.checkpoint("last")["finetune"]["config"]["optimizer"]["lr"] == rate
        assert run.checkpoint("last")["finetune"]["processes"] == 2 and "val/acc" in run.metrics


def different_settings(rank: int, port: int, folder: str, common: list[str]) -> None:
    """What an adaptive sweeper under torchrun would do: another rate on each process."""
    os.environ.update(LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    from conftest import run_train

    from src.cli import command as cli
    from src.settings.schema import register

    register()
    cli.register_resolvers()
    try:
        run_train(Path(folder), *common, f"optimizer.lr=1e-{3 + rank}")
    except Exception as error:
        Path(folder, f"error_{rank}.txt").write_text(f"{type(error).__name__}: {error}")


def test_processes_with_different_settings_are_refused(tmp_path: Path, colors: Path) -> None:
    common = [
        *("trainer.devices=2", "trainer.strategy=ddp", "data=folder", f"data.root={colors}", "data.image_size_px=32"),
    ]
    run_two(different_settings, tmp_path, common)
    for rank in (0, 1):
        message = (tmp_path / f"error_{rank}.txt").read_text()
        assert "RunStopped: The processes of this run were given different settings" in message
        assert "optimizer.lr: 0.001, 0.0001" in message
