"""What holds for every training holds for objects with masks: metrics, report, exact resume."""

from pathlib import Path

import numpy as np
import pytest
from conftest import OBJECTS, Run, compose, run_train
from support.resumed import assert_same_end
from support.slow import slow
from support.watching import TRUSTED, Stop, stopped

from src.train import train

EVERYTHING = (
    *("freeze=head_then_all", "freeze.phases.0.epochs=1", "augment=boxes_strong", "augment.rotation_degrees=10"),
    *("augment.vertical_flip=0.5", "data.cache=images", "ema_decay=0.9", "soup=2", "param_groups.layer_decay=0.8"),
)


def test_a_run_measures_boxes_and_masks_and_writes_its_report(objects_run: Run) -> None:
    metrics = objects_run.metrics
    wanted = {"mask_ap", "mask_ap50", "mask_ap75", "mask_ar", "box_ap", "box_ap50", "loss", "f1", "dece"}
    assert {f"test/{name}" for name in wanted} <= metrics.keys() and "test/ap" not in metrics
    assert 0 <= metrics["test/mask_ap"] <= metrics["test/mask_ap50"] <= 1
    page = (objects_run.directory / "report" / "index.html").read_text(encoding="utf-8")
    assert "by the IoU of its mask" in page and "Worst images" in page
    assert "train/loss_mask" in objects_run.csv("epochs.csv")[0]
    rows = objects_run.csv("report/test_images.csv")
    assert len(rows) == 5 and (objects_run.directory / "report" / "test_boxes.png").is_file()


@pytest.mark.parametrize(
    ("settings", "step"), [slow(EVERYTHING, 7), slow(("freeze=head_only", "data.num_workers=2", "data.cache=none"), 3)]
)
def test_a_run_resumed_within_an_epoch_ends_as_the_uninterrupted_one(
    tmp_path: Path, settings: tuple[str, ...], step: int
) -> None:
    common = [*OBJECTS, "trainer.max_epochs=2", "test=false", "checkpoint_every_n_steps=2"]
    common += [f"data.cache_dir={tmp_path}/cache", *settings]
    whole = run_train(tmp_path / "whole", *common)
    with stopped(step=step) as stopping, pytest.raises(Stop):
        run_train(tmp_path / "run", *common, *stopping)
    assert Run(tmp_path / "run", None).checkpoint("last")["finetune"]["batches_done"] > 0
    train(compose(f"output_dir={tmp_path}/elsewhere", f"resume={tmp_path}/run", TRUSTED))
    assert_same_end(Run(tmp_path / "run", None), whole)


@pytest.mark.slow
def test_masks_of_digits_are_learnt_in_a_few_epochs(tmp_path: Path) -> None:
    run = run_train(tmp_path / "run", "task=instance_segmentation", "trainer.max_epochs=4")
    assert run.metrics["test/mask_ap50"] >= 0.9 and run.metrics["test/mask_ap"] > 0.5
    assert np.isfinite(run.metrics["test/box_ap"])
