"""How large boxes are at the network's size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import typed
from PIL import Image

from src.build.data import build_datamodule
from src.data.box_sides import network_scale
from src.data.boxes import Boxes
from src.data.transforms import evaluation_transform
from src.models.preprocessing import Preprocessing

ORIGINAL = Preprocessing(256, 224, "bilinear", (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


@pytest.mark.parametrize("mode", ["fit", "stretch"])
@pytest.mark.parametrize(("size_px", "resize_px"), [(64, None), (64, 40), (30, 7)])
def test_images_are_scaled_as_the_transform_does(mode: str, size_px: int, resize_px: int | None) -> None:
    preprocessing = ORIGINAL.keeping_shape(size_px, resize_px, mode)
    sizes = np.array([[80, 40], [40, 80], [33, 100], [7, 7], [200, 3], [101, 99]])
    transform = evaluation_transform(preprocessing)
    made = [transform(Image.new("RGB", tuple(size))).shape[:0:-1] for size in sizes.tolist()]
    np.testing.assert_allclose(network_scale(sizes, preprocessing) * sizes, made, rtol=1e-6)


def test_sides_of_boxes() -> None:
    boxes = np.array([[0, 0, 40, 40], [10, 10, 20, 30]], dtype=np.float32)
    values = np.array([[0, 1, 80, 40], [1, 1, 40, 40]])
    targets = Boxes(values, ["x"], boxes, np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.bool_))
    sides = targets.sides_at_network(np.array([1, 0]), ORIGINAL.keeping_shape(20, None, "fit"))
    assert sides.tolist() == [[5, 10], [10, 10]]


def test_boxes_that_training_drops(tmp_path: Path) -> None:
    lines = ["path,x1,y1,x2,y2,label,split"]
    for i in range(4):
        Image.new("RGB", (100, 50), (i * 50, 0, 0)).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,10,10,{13 if i == 0 else 30},30,cat,{'val' if i == 3 else 'train'}")
    (tmp_path / "t.csv").write_text("\n".join(lines))

    settings = ["task=detection", "data=csv", f"data.file={tmp_path}/t.csv", "data.cache=none", "data.num_workers=0"]
    data = build_datamodule(typed(*settings, "data.image_size_px=40"))
    targets, rows = data.table.targets, data.table.splits["train"]
    assert targets.dropped(rows, data.preprocessing) == ""
    assert targets.dropped(rows, ORIGINAL.keeping_shape(30, None, "fit")).startswith(
        "1 of 3 training boxes, in 1 image, have a side under 1 pixel at the network's size (30): they are not trained"
    )


def test_a_size_that_is_refused_warns_of_nothing(command: Any) -> None:
    given = ("task=detection", "data.scenes=20", "data.scene_px=64", "data.image_size_px=5", "logger=none")
    answer = command("train", *given)
    assert answer.status == 1 and "data.image_size_px=5 does not fit" in answer.err
    assert "network's size" not in answer.err
