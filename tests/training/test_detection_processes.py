"""Detectors in two processes: equal weights on both, and one process's AP. On the CPU, with gloo."""

import contextlib
import hashlib
import io
import json
import os
from pathlib import Path

import pytest
import torch
from conftest import Answer, Run
from lightning import LightningModule, Trainer
from support.painted_boxes import QUICK, painted_boxes
from support.processes import run_two
from support.watching import watched

pytestmark = pytest.mark.slow

# Batches of one image: that of one process is often without boxes, while the other's has some.
PLANS = {
    "fcos": ["data.batch_size=1", "data.cache=images", "augment=boxes_strong", "ema_decay=0.9", "soup=2"],
    "faster_rcnn": ["head=faster_rcnn", "freeze=head_then_all", "freeze.phases.0.epochs=1", "data.batch_size=1"],
    "retinanet": ["head=retinanet", "trainer.accumulate_grad_batches=2", "trainer.precision=bf16-mixed"],
    "ssdlite": ["backbone=ssdlite320_mobilenet_v3_large", "backbone.weights=null", "data.batch_size=4"],
}
OF_PYRAMIDS = [setting for setting in QUICK if setting.startswith("head.")]


def rank_of_two(rank: int, port: int, folder: str, common: list[str]) -> None:
    """All plans, one after the other; writes what the weights hashed to after each phase."""
    torch.set_num_threads(1)
    from conftest import run_train

    from src.cli import command as cli
    from src.settings.schema import register

    register()
    cli.register_resolvers()
    hashes: list[str] = []

    def on_train_end(trainer: Trainer, task: LightningModule) -> None:
        digest = hashlib.sha256()
        for name, value in task.model.named_parameters():
            digest.update(name.encode() + value.detach().contiguous().numpy().tobytes())
        hashes.append(digest.hexdigest())

    with contextlib.redirect_stderr(io.StringIO()):
        for plan, settings in PLANS.items():
            os.environ.update(LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
            hashes.clear()
            heads = [] if plan == "ssdlite" else OF_PYRAMIDS
            with watched(on_train_end=on_train_end) as watching:
                run_train(Path(folder) / plan, *common, *heads, *settings, *watching)
            Path(folder, f"{plan}_{rank}.json").write_text(json.dumps(hashes))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run for each plan, trained by two processes; there is an uneven number of images in val."""
    folder = tmp_path_factory.mktemp("two")
    common = [setting for setting in QUICK if setting not in OF_PYRAMIDS]
    common += [f"data.file={painted_boxes(folder / 'data', 33)}", f"data.cache_dir={folder}/cache"]
    common += ["trainer.devices=2", "trainer.strategy=ddp", "optimizer.lr=1e-3", "trainer.max_epochs=4"]
    assert run_two(rank_of_two, folder, common) == [0, 0]
    return folder


@pytest.mark.parametrize("plan", PLANS)
def test_after_each_phase_both_processes_hold_the_same_weights(two: Path, plan: str) -> None:
    first, second = (json.loads((two / f"{plan}_{rank}.json").read_text()) for rank in range(2))
    assert len(first) == (2 if plan == "faster_rcnn" else 1) == len(set(first)) and first == second


@pytest.mark.parametrize("plan", PLANS)
def test_ap_is_that_of_one_process(two: Path, plan: str, command) -> None:
    run = Run(two / plan, None)
    images = run.csv("split.csv")
    assert any(sum(image["split"] == split for image in images) % 2 for split in ("val", "test"))
    for split in ("val", "test"):
        answer: Answer = command("evaluate", f"ckpt={run.directory}", f"split={split}", f"output={two}/{plan}.json")
        assert answer.status == 0, answer.err
        alone = json.loads((two / f"{plan}.json").read_text())
        wanted = {name: value for name, value in alone.items() if name.startswith(f"{split}/ap")}
        assert len(wanted) > 3 and (wanted[f"{split}/ap"] > 0 or plan == "ssdlite")  # from random weights
        if plan != "retinanet":  # evaluated in float32 here
            assert {name: run.metrics[name] for name in wanted} == pytest.approx(wanted, abs=1e-6, nan_ok=True)
