"""A class per pixel in two processes: equal weights on both, and one process's metrics. On the CPU, with gloo."""

from pathlib import Path

import pytest
from conftest import Run
from support.ranks import are_uneven, hashes_of, measured_alone, train_plans

pytestmark = pytest.mark.slow

COMMON = (
    "task=segmentation", "data.scenes=33", "data.scene_px=48", "data.batch_size=3", "trainer.max_epochs=2",
    "trainer.devices=2", "trainer.strategy=ddp",
)  # fmt: skip
PLANS = {
    "pyramid": ["data.cache=images", "ema_decay=0.9", "soup=2", "freeze=head_then_all", "freeze.phases.0.epochs=1"],
    "deeplab": ["head=deeplabv3", "data.batch_size=1", "trainer.accumulate_grad_batches=2", "backbone.weights=null"],
    "lraspp": ["backbone=lraspp_mobilenet_v3_large", "backbone.weights=null", "trainer.precision=bf16-mixed"],
}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    plans = {plan: [*COMMON, f"data.cache_dir={folder}/cache", *settings] for plan, settings in PLANS.items()}
    train_plans(folder, plans)
    return folder


@pytest.mark.parametrize("plan", PLANS)
def test_after_each_phase_both_processes_hold_the_same_weights(two: Path, plan: str) -> None:
    first, second = hashes_of(two, plan)
    assert len(first) == (2 if plan == "pyramid" else 1) == len(set(first)) and first == second


@pytest.mark.parametrize("plan", PLANS)
def test_metrics_are_those_of_one_process(two: Path, plan: str, command) -> None:
    run = Run(two / plan, None)
    assert are_uneven(run)
    for split in ("val", "test"):
        alone = measured_alone(run, split, command)
        names = [f"{split}/{name}" for name in ("miou", "acc", "dice", "loss")]
        if plan != "lraspp":  # evaluated in float32 here
            assert [run.metrics[name] for name in names] == pytest.approx([alone[name] for name in names], abs=1e-5)
