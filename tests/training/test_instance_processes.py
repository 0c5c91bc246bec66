"""Objects with masks in two processes: equal weights on both, and one process's AP. On the CPU, with gloo."""

from pathlib import Path

import pytest
from conftest import OBJECTS, Run
from support.ranks import are_uneven, hashes_of, measured_alone, train_plans

pytestmark = pytest.mark.slow

# Batches of one image: that of one process may be without objects, while the other's has some.
PLANS = {"everything": ["data.batch_size=1", "ema_decay=0.9", "freeze=head_then_all", "freeze.phases.0.epochs=1"]}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    common = [*OBJECTS, "data.scenes=33", f"data.cache_dir={folder}/cache", "data.cache=images"]
    common += ["trainer.devices=2", "trainer.strategy=ddp", "trainer.max_epochs=4", "augment=boxes"]
    train_plans(folder, {plan: [*common, *settings] for plan, settings in PLANS.items()})
    return folder


@pytest.mark.parametrize("plan", PLANS)
def test_after_each_phase_both_processes_hold_the_same_weights(two: Path, plan: str) -> None:
    first, second = hashes_of(two, plan)
    assert len(first) == 2 == len(set(first)) and first == second


@pytest.mark.parametrize("plan", PLANS)
def test_ap_of_masks_and_boxes_is_that_of_one_process(two: Path, plan: str, command) -> None:
    run = Run(two / plan, None)
    assert are_uneven(run)
    for split in ("val", "test"):
        alone = measured_alone(run, split, command)
        names = [f"{split}/{name}" for name in ("mask_ap", "mask_ap50", "mask_ar", "box_ap", "box_ap50", "f1")]
        assert alone[f"{split}/mask_ap50"] > 0
        assert [run.metrics[name] for name in names] == pytest.approx([alone[name] for name in names], abs=1e-6)
