"""What of a detector follows from its boxes, and what a checkpoint may say of it."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Run, run_train
from support.painted_boxes import QUICK, painted_boxes

from src.build.trained_model import TrainedModel
from src.data.boxes import Boxes
from src.models.preprocessing import Preprocessing
from src.runs.record import RunRecord
from src.settings.errors import ConfigError
from src.tasks.detection.network import network_for_boxes

PREPROCESSING = Preprocessing(640, 640, "bilinear", (0, 0, 0), (1, 1, 1)).keeping_shape(None, None, "fit")


def record(size_px: int = 640, **head: object) -> RunRecord:
    preprocessing = replace(PREPROCESSING, crop_px=size_px, resize_px=size_px)
    return RunRecord({"head": {"strides": None, **head}}, ["a"], preprocessing, "")


def squares(sides: list[float], crowd: int = 0) -> Boxes:
    """All in one image of 1280 x 640 pixels, the last ones a crowd."""
    corners = np.array([[0, 0, side, side + 5] for side in sides], dtype=np.float32).reshape(-1, 4)
    is_crowd = np.arange(len(sides)) >= len(sides) - crowd
    return Boxes(np.array([[0, len(sides), 1280, 640]]), ["a"], corners, np.zeros(len(sides), dtype=np.int64), is_crowd)


def test_the_pyramid_begins_coarser_where_nearly_all_boxes_are_large() -> None:
    """At the network's size, which is half of the image's here."""
    large = [64.0] * 95
    assert network_for_boxes(squares([*large, *[10.0] * 4]), record())["finest_stride"] == 8
    assert "finest_stride" not in network_for_boxes(squares([*large, *[10.0] * 8]), record())
    assert "finest_stride" not in network_for_boxes(squares(large), record(size_px=600))
    assert network_for_boxes(squares([*large, *[10.0] * 8], crowd=8), record())["finest_stride"] == 8
    assert "finest_stride" not in network_for_boxes(squares(large), record(strides=[4, 8, 16]))
    assert "finest_stride" not in network_for_boxes(squares([]), record())
    whole = replace(record(), config={"head": {"norms": "frozen"}})  # of a whole detector, which has its levels
    assert "finest_stride" not in network_for_boxes(squares(large), whole)


def test_detections_follow_the_fullest_image() -> None:
    for boxes, most in ((0, 100), (66, 100), (300, 450), (9_000, 10_000)):
        assert network_for_boxes(squares([5.0] * boxes), record())["max_detections"] == most


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """On images enlarged until their boxes are large."""
    folder = tmp_path_factory.mktemp("large")
    settings = [setting for setting in QUICK if not setting.startswith(("head.strides", "data.image_size"))]
    file = painted_boxes(folder / "data", 16)
    return run_train(
        folder / "run", *settings, f"data.file={file}", "data.image_size_px=256", "trainer.max_epochs=1", "test=false",
        "+trainer.limit_train_batches=1",
    )  # fmt: skip


def test_a_checkpoint_keeps_what_was_chosen(run: Run) -> None:
    assert run.checkpoint()["finetune"]["network"] == {"max_detections": 100, "finest_stride": 8}
    assert "Feature maps begin at stride 8: 95 % of the boxes have sides of at least 32 px" in run.log
    model = TrainedModel.open(str(run.directory)).task.model
    assert model.net.backbone.strides == [8, 16, 32] and model.max_detections == 100


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("max_detections", 0), ("max_detections", 10_001), ("max_detections", True), ("max_detections", "9"),
        ("finest_stride", 5), ("finest_stride", 64), ("finest_stride", "8"), ("finest_stride", [8]),
    ],
)  # fmt: skip
def test_what_a_checkpoint_may_not_say(run: Run, tmp_path: Path, entry: str, value: object) -> None:
    checkpoint = run.checkpoint()
    checkpoint["finetune"]["network"][entry] = value
    torch.save(checkpoint, tmp_path / "hostile.ckpt")
    with pytest.raises(ConfigError, match=re.escape(f"its entry finetune.network.{entry} is {value!r} and not ")):
        TrainedModel.open(str(tmp_path / "hostile.ckpt"))


def test_of_other_entries_nothing_is_built(run: Run, tmp_path: Path) -> None:
    checkpoint = run.checkpoint()
    checkpoint["finetune"]["network"]["channels"] = 10**9
    torch.save(checkpoint, tmp_path / "more.ckpt")
    assert TrainedModel.open(str(tmp_path / "more.ckpt")).task.model.net.backbone.out_channels == 64
