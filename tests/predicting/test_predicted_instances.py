"""src.predict and src.evaluate for models that find objects with masks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Answer, Run
from faster_coco_eval.core import mask as coco_mask
from PIL import Image
from support.scenes import scene, write_scenes

from src.files.csv_files import read_csv_file


@pytest.fixture
def predict(objects_run: Run, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """In an empty folder, with boxes of low scores."""
    monkeypatch.chdir(tmp_path)
    common = f"ckpt={objects_run.directory}", "accelerator=cpu", "num_workers=0", "score_threshold=0.01"
    return lambda *arguments: command("predict", *common, *arguments)


def test_rows_json_masks_and_drawn_images_say_the_same(predict: Any, tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "images", 2)
    scene(1).resize((90, 60)).save(folder / "wide.png")
    answer: Answer = predict("images=images", "masks=masks", "draw=drawn")
    assert answer.status == 0, answer.err
    rows = [row for row in read_csv_file(tmp_path / "predictions.csv") if row["prediction"]]
    answer = predict("images=images", "output=found.json")
    assert answer.status == 0, answer.err
    found = json.loads((tmp_path / "found.json").read_text())
    assert len(found["annotations"]) == len(rows) > 3
    numbers = {image["file_name"]: image["id"] for image in found["images"]}
    for path, size in (("0.png", (64, 64)), ("wide.png", (90, 60))):
        mine = [row for row in rows if row["path"] == f"images/{path}"]
        masks = [one for one in found["annotations"] if one["image_id"] == numbers[f"images/{path}"]]
        assert masks
        assert [int(row["pixels"]) for row in mine] == [one["area"] for one in masks]
        pixels = [coco_mask.decode(one["segmentation"]) for one in masks]
        assert [int(mask.sum()) for mask in pixels] == [one["area"] for one in masks]
        image = np.asarray(Image.open(tmp_path / "masks" / path))
        assert image.shape == size[::-1] == pixels[0].shape and np.array_equal(image == 1, pixels[0] > 0)
        assert np.array_equal(image > 0, np.any(pixels, axis=0))
    assert len(list((tmp_path / "drawn").glob("*.jpg"))) == 3


def test_large_images_are_searched_in_tiles(predict: Any, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    scene(3).resize((160, 160)).save(tmp_path / "images" / "large.png")
    answer: Answer = predict("images=images", "masks=masks", "tile_px=72")
    assert answer.status == 0, answer.err
    assert np.asarray(Image.open(tmp_path / "masks" / "large.png")).shape == (160, 160)


def test_a_checkpoint_is_measured_as_at_the_end_of_its_run(objects_run: Run, command: Any, tmp_path: Path) -> None:
    answer: Answer = command(
        "evaluate", f"ckpt={objects_run.directory}", "split=test", f"output={tmp_path}/e.json", "accelerator=cpu",
        "data.num_workers=0",
    )  # fmt: skip
    assert answer.status == 0, answer.err
    found = json.loads((tmp_path / "e.json").read_text())
    for name in ("mask_ap", "mask_ap50", "box_ap", "loss", "f1"):
        assert found[f"test/{name}"] == pytest.approx(objects_run.metrics[f"test/{name}"], abs=1e-6)
