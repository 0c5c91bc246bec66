"""Detectors in two processes: equal weights on both, and one process's AP. On the CPU, with gloo."""

from pathlib import Path

import pytest
from conftest import Run
from support.painted_boxes import QUICK, painted_boxes
from support.ranks import are_uneven, hashes_of, measured_alone, train_plans

pytestmark = pytest.mark.slow

# Batches of one image: that of one process is often without boxes, while the other's has some.
PLANS = {
    "fcos": ["data.batch_size=1", "data.cache=images", "augment=boxes_strong", "ema_decay=0.9", "soup=2"],
    "faster_rcnn": ["head=faster_rcnn", "freeze=head_then_all", "freeze.phases.0.epochs=1", "data.batch_size=1"],
    "retinanet": ["head=retinanet", "trainer.accumulate_grad_batches=2", "trainer.precision=bf16-mixed"],
    "ssdlite": ["backbone=ssdlite320_mobilenet_v3_large", "backbone.weights=null", "data.batch_size=4"],
}
OF_PYRAMIDS = [setting for setting in QUICK if setting.startswith("head.")]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run for each plan, trained by two processes; there is an uneven number of images in val."""
    folder = tmp_path_factory.mktemp("two")
    common = [setting for setting in QUICK if setting not in OF_PYRAMIDS]
    common += [f"data.file={painted_boxes(folder / 'data', 33)}", f"data.cache_dir={folder}/cache"]
    common += ["trainer.devices=2", "trainer.strategy=ddp", "optimizer.lr=1e-3", "trainer.max_epochs=4"]
    heads = {plan: [] if plan == "ssdlite" else OF_PYRAMIDS for plan in PLANS}
    train_plans(folder, {plan: [*common, *heads[plan], *settings] for plan, settings in PLANS.items()})
    return folder


@pytest.mark.parametrize("plan", PLANS)
def test_after_each_phase_both_processes_hold_the_same_weights(two: Path, plan: str) -> None:
    first, second = hashes_of(two, plan)
    assert len(first) == (2 if plan == "faster_rcnn" else 1) == len(set(first)) and first == second


@pytest.mark.parametrize("plan", PLANS)
def test_ap_is_that_of_one_process(two: Path, plan: str, command) -> None:
    run = Run(two / plan, None)
    assert are_uneven(run)
    for split in ("val", "test"):
        alone = measured_alone(run, split, command)
        wanted = {name: value for name, value in alone.items() if name.startswith(f"{split}/ap")}
        assert len(wanted) > 3 and (wanted[f"{split}/ap"] > 0 or plan == "ssdlite")  # from random weights
        if plan != "retinanet":  # evaluated in float32 here
            assert {name: run.metrics[name] for name in wanted} == pytest.approx(wanted, abs=1e-6, nan_ok=True)
