"""What holds for every training holds for a class per pixel: freezing, resuming, averages, broken losses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Run, compose, run_train
from lightning import LightningModule, Trainer
from support.resumed import assert_same_end
from support.slow import slow
from support.watching import TRUSTED, Stop, stopped, watched

from src.evaluation.pixels.confusion import class_scores, pixel_metrics
from src.settings.errors import RunStopped
from src.tasks.segmentation.answers import confusion_of
from src.train import train
from src.training.pixel_losses import PixelCrossEntropy

QUICK = (
    "task=segmentation", "data.scenes=30", "data.scene_px=48", "data.batch_size=4", "head.strides=[8,16]",
    "trainer.max_epochs=2", "test=false",
)  # fmt: skip


def test_while_the_head_alone_trains_the_body_stands_still(tmp_path: Path) -> None:
    states: list[dict[str, torch.Tensor]] = []
    modes: list[set[bool]] = []

    def look(trainer: Trainer, task: LightningModule, _: Any, position: int) -> None:
        if position == 0:
            states.append({name: value.detach().clone() for name, value in task.model.net.state_dict().items()})
            modes.append({m.training for name, m in task.model.net.named_modules() if "backbone.body" in name})

    with watched(on_train_batch_start=look) as watching:
        run = run_train(
            tmp_path / "run", *QUICK, "backbone=mobilenet_v3_small", "backbone.weights=null", "freeze=head_then_all",
            "freeze.phases.0.epochs=1", *watching,
        )  # fmt: skip
    first, second = states
    body = [name for name in first if name.startswith("backbone.body")]
    assert any("running_mean" in name for name in body) and modes == [{False}, {True}]
    assert all(torch.equal(first[name], second[name]) for name in body)
    head = [name for name in first if name not in body]
    assert sum(torch.equal(first[name], second[name]) for name in head) < len(head) / 4
    assert run.metrics["val/acc"] > 0.5 and {"val/miou", "val/dice", "val/loss", "val/ece"} <= run.metrics.keys()


EVERYTHING = (
    *("freeze=head_then_all", "freeze.phases.0.epochs=1", "augment.scale_jitter=0.5", "augment.rotation_degrees=10"),
    *("augment.crop_px=40", "augment.vertical_flip=0.5", "data.cache=images", "ema_decay=0.9", "soup=2"),
    *("param_groups.layer_decay=0.8", "data.balanced_sampling=true", "loss.class_weights=inverse", "loss.gamma=1"),
)


@pytest.mark.parametrize(
    ("settings", "step"),
    [slow(EVERYTHING, 7), slow(("head=deeplabv3", "~head.strides", "freeze=head_only", "data.num_workers=2"), 3)],
)
def test_a_run_resumed_within_an_epoch_ends_as_the_uninterrupted_one(
    tmp_path: Path, settings: tuple[str, ...], step: int
) -> None:
    quick = [one for one in QUICK if "head=deeplabv3" not in settings or not one.startswith("head.")]
    settings = tuple(one for one in settings if not one.startswith("~"))
    common = [*quick, "checkpoint_every_n_steps=2", f"data.cache_dir={tmp_path}/cache"]
    whole = run_train(tmp_path / "whole", *common, *settings)
    with stopped(step=step) as stopping, pytest.raises(Stop):
        run_train(tmp_path / "run", *common, *settings, *stopping)
    assert Run(tmp_path / "run", None).checkpoint("last")["finetune"]["batches_done"] > 0
    train(compose(f"output_dir={tmp_path}/elsewhere", f"resume={tmp_path}/run", TRUSTED))
    assert_same_end(Run(tmp_path / "run", None), whole)


def test_a_loss_that_is_not_finite_names_its_image(tmp_path: Path) -> None:
    hooks: list[Any] = []

    def spoil(trainer: Trainer, task: LightningModule, batch: dict[str, Any], _: int) -> None:
        places = [b for b, row in enumerate(batch["index"].tolist()) if row == 3]

        def break_maps(module: Any, given: Any, maps: torch.Tensor) -> torch.Tensor:
            maps = maps.clone()
            maps[places] = torch.nan
            return maps

        hooks.append(task.model.net.classifier.register_forward_hook(break_maps))

    def leave(*_: Any) -> None:
        hooks.pop().remove()

    with watched(on_train_batch_start=spoil, on_train_batch_end=leave) as watching, pytest.raises(RunStopped) as stop:
        run_train(tmp_path / "run", *QUICK, "data.scenes=20", *watching)
    hooks.clear()
    assert "are not finite:\n  large_digit_scenes/0003" in str(stop.value), stop.value


@pytest.mark.slow
def test_the_best_checkpoint_is_what_was_measured(tmp_path: Path, command) -> None:
    settings = ("trainer.max_epochs=3", "ema_decay=0.9", "trainer.accumulate_grad_batches=2", "soup=2")
    run = run_train(tmp_path / "run", *QUICK, *settings)
    answer = command("evaluate", f"ckpt={run.directory}", "split=val", f"output={tmp_path}/val.json")
    assert answer.status == 0, answer.err
    alone = json.loads((tmp_path / "val.json").read_text())
    for name in ("val/miou", "val/acc", "val/dice", "val/loss"):
        assert run.metrics[name] == pytest.approx(alone[name], rel=1e-4), name


@pytest.mark.slow
def test_bfloat16_trains(tmp_path: Path) -> None:
    wide, narrow = (
        run_train(tmp_path / precision, *QUICK, "trainer.max_epochs=1", f"trainer.precision={precision}")
        for precision in ("32-true", "bf16-mixed")
    )
    assert narrow.metrics["last/val/loss"] == pytest.approx(wide.metrics["last/val/loss"], rel=0.05)


def test_metrics_of_pixels_counted_by_hand() -> None:
    truth = torch.tensor([[0, 0, 1, 1], [0, 2, 255, 255]], dtype=torch.uint8)
    found = torch.tensor([[0, 1, 1, 1], [0, 3, 3, 0]], dtype=torch.uint8)
    confusion = confusion_of(truth, found, 5).numpy()
    assert confusion.sum() == 6 and confusion[0, 1] == 1 and confusion[2, 3] == 1
    scores = class_scores(confusion)
    np.testing.assert_allclose(scores.iou, [2 / 3, 2 / 3, 0, np.nan, np.nan])
    np.testing.assert_allclose(scores.precision[:2], [1, 2 / 3])
    assert pixel_metrics(confusion) == pytest.approx({"miou": 4 / 9, "acc": 4 / 6, "dice": (0.8 + 0.8) / 3})
    assert np.isnan(pixel_metrics(np.zeros((2, 2), dtype=np.int64))["miou"])


def test_void_pixels_teach_nothing_and_dice_counts_classes_alike() -> None:
    torch.manual_seed(0)
    logits, masks = torch.randn(2, 3, 4, 5, requires_grad=True), torch.randint(0, 3, (2, 4, 5))
    masks[0, 0] = 255
    for loss in (PixelCrossEntropy(), PixelCrossEntropy(gamma=2, dice_share=0.5, weight=torch.ones(3))):
        (gradient,) = torch.autograd.grad(loss(logits, masks), logits)
        assert (gradient[0, :, 0] == 0).all() and (gradient[1] != 0).all()
        nothing = loss(logits, torch.full_like(masks, 255))
        assert nothing == 0 and torch.autograd.grad(nothing, logits)[0].isfinite().all()
    sure = torch.nn.functional.one_hot(masks.clamp(max=2), 3).movedim(-1, 1) * 50.0
    assert PixelCrossEntropy(dice_share=1)(sure, masks) == pytest.approx(0, abs=1e-6)
    wrong = torch.zeros(1, 2, 1, 100)
    wrong[:, 0] = 50  # all of the first class, of which 99 % are
    target = torch.zeros(1, 1, 100, dtype=torch.int64)
    target[..., 0] = 1
    assert PixelCrossEntropy(dice_share=1)(wrong, target) == pytest.approx(1 - 198 / 199 / 2)
