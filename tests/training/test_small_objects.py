"""Objects too small for the network's size: a training says how many it leaves out, and does not break on them."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import OBJECTS, Answer
from PIL import Image

pytestmark = pytest.mark.slow

OF_OBJECTS = [setting for setting in OBJECTS if setting.startswith("head.")]


def write_coco(root: Path) -> Path:
    """Eight images of 64 x 64 with a square of 20 px each; two have one of 0.5 px too."""
    images, annotations = [], list[dict[str, Any]]()
    for i in range(8):
        Image.new("RGB", (64, 64), (i * 30, 90, 120)).save(root / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 64})
        for side in (20, 0.5)[: 1 + (i in (2, 5))]:
            corners = [10, 10, 10 + side, 10, 10 + side, 10 + side, 10, 10 + side]
            box = {"bbox": [10, 10, side, side], "segmentation": [corners], "area": side * side, "iscrowd": 0}
            annotations.append({"id": len(annotations), "image_id": i, "category_id": 1, **box})
    categories = [{"id": 1, "name": "square"}]
    text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    (root / "all.json").write_text(text)
    return root


@pytest.mark.parametrize("task", ["detection", "instance_segmentation"])
def test_a_training_tells_what_it_leaves_out(tmp_path: Path, command: Any, task: str) -> None:
    data = ["data=coco", f"data.root={write_coco(tmp_path)}", "data.image_size_px=64", "data.batch_size=4"]
    data += ["data.val_fraction=0.25", "data.cache=none", "data.num_workers=0", "test=false", "logger=none"]
    heads = OF_OBJECTS if task == "instance_segmentation" else OF_OBJECTS[:1]
    answer: Answer = command(
        "train", f"task={task}", *data, *heads, "trainer.max_epochs=1", f"output_dir={tmp_path}/run"
    )
    assert answer.status == 0, answer.err
    assert "training boxes, in " in answer.err and "have a side under 1 pixel at the network's size (64)" in answer.err
