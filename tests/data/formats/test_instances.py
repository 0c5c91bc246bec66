"""Data of objects with outlines: read, kept, turned and scaled as their images are, and refused without any."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from src.data.annotations.outline_columns import run_lengths
from src.data.formats.coco import CocoDataModule
from src.data.formats.digit_scene import draw_scene, pools
from src.data.formats.digit_scenes import DigitScenesDataModule
from src.data.formats.yolo import YoloDataModule
from src.data.instances import Instances, packed, unpacked
from src.evaluation.pixels.run_lengths import runs_of_mask
from src.models.preprocessing import Preprocessing
from src.settings.errors import ConfigError
from src.settings.nodes import Augmentation

PREPROCESSING = Preprocessing(36, 32, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SETTINGS: dict[str, Any] = {
    "batch_size": 2, "num_workers": 0, "augmentation": Augmentation(), "seed": 0, "preprocessing": PREPROCESSING,
    "targets": "instances",
}  # fmt: skip
SQUARE = [2.0, 3, 12, 3, 12, 13, 2, 13]
RING = np.zeros((30, 40), dtype=np.bool_)
RING[5:25, 6:30] = True
RING[10:20, 12:20] = False
RING_RUNS = {"size": [30, 40], "counts": runs_of_mask(RING).tolist()}


def coco(root: Path, *segmentations: Any, turn: int = 1, **more: Any) -> CocoDataModule:
    """Twelve images of 40 x 30 pixels; the objects of these outlines, without boxes, are in each."""
    facts = Image.Exif()
    facts[0x0112] = turn
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 40, "height": 30} for i in range(12)]
    for image in images:
        Image.new("RGB", (40, 30), (image["id"], 0, 0)).save(root / image["file_name"], exif=facts)  # type: ignore[call-overload]
    annotations = [
        {"image_id": i, "category_id": 1 + k % 2, "iscrowd": 0, **({"segmentation": one} if one else {}), **more}
        for i in range(12)
        for k, one in enumerate(segmentations)
    ]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    }
    (root / "x.json").write_text(json.dumps(content), encoding="utf-8")
    return CocoDataModule(root=str(root), **SETTINGS)


def instances(data: Any) -> Instances:
    targets = data.table.targets
    assert isinstance(targets, Instances)
    return targets


def test_objects_of_coco_json_have_their_pixels_and_the_boxes_around_them(tmp_path: Path) -> None:
    data = coco(
        tmp_path,
        [SQUARE, [20.0, 20, 30, 20, 30, 28, 20, 28]],
        RING_RUNS,
    )
    found = instances(data)
    assert found.boxes_xyxy[:2].tolist() == [[2, 3, 30, 28], [6, 5, 30, 25]]
    two_parts, ring = (crop.whole((40, 30)) for crop in found.crops(0))
    assert two_parts.sum() == 100 + 80 and two_parts[3:13, 2:12].all()
    assert np.array_equal(ring, RING)


def test_samples_have_masks_of_the_size_that_is_asked_for(tmp_path: Path) -> None:
    sample = instances(coco(tmp_path, [SQUARE])).sample(0, (20, 15))
    assert sample["masks"].shape == (1, 15, 20) and sample["masks"].dtype == torch.uint8
    assert sample["masks"].sum() == 25 and sample["boxes"].tolist() == [[1, 1.5, 6, 6.5]]


def test_truth_is_in_the_pixels_of_the_file(tmp_path: Path) -> None:
    data = coco(tmp_path, [SQUARE], RING_RUNS)
    truth = instances(data).evaluation_sample(0, (20, 15))["truth_masks"]
    assert [crop.area for crop in unpacked(truth)] == [100, RING.sum()]
    assert np.array_equal(unpacked(truth)[1].whole((40, 30)), RING) and not unpacked(packed([]))


@pytest.mark.parametrize("turn", [3, 6, 8])
def test_outlines_turn_with_their_image(tmp_path: Path, turn: int) -> None:
    """The stated size is that of the file, so that boxes and outlines were drawn before the turn."""
    data = coco(tmp_path, [SQUARE], RING_RUNS, turn=turn)
    found = instances(data)
    size = found.size(0)
    if turn != 3:
        assert size == (30, 40)
    for crop, box in zip(found.crops(0), found.boxes_xyxy[found.of(0)].tolist(), strict=True):
        assert [crop.left, crop.top, crop.right, crop.bottom] == box


def test_outlines_come_out_of_the_cache_as_they_went_in(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        (tmp_path / "set").mkdir(exist_ok=True)
        settings = {**SETTINGS, "cache": "images", "cache_dir": str(tmp_path / "cache")}
        if not found:
            coco(tmp_path / "set", [SQUARE], RING_RUNS)
        found.append(instances(CocoDataModule(root=str(tmp_path / "set"), **settings)))
    assert len(list((tmp_path / "cache").glob("annotations*"))) == 1
    for column in ("part_starts", "point_starts", "points", "code_starts", "codes", "coded_wh"):
        assert np.array_equal(*(getattr(one.outlines, column) for one in found))


def test_objects_without_outline_are_left_aside_and_told(tmp_path: Path) -> None:
    data = coco(tmp_path, [SQUARE], None, bbox=[1, 2, 20, 10])
    found = instances(data)
    assert found.crowd[:2].tolist() == [False, True] and len(found.sample(0, (40, 30))["masks"]) == 1
    assert "12 of 24 objects have a box alone and no outline" in "\n".join(data.table.notes)


def test_data_with_boxes_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"boxes alone.*task=detection"):
        _ = coco(tmp_path, None, None, bbox=[1, 2, 20, 10]).table


def test_polygons_of_yolo_are_read_in_shares_of_the_image(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for i in range(12):
        Image.new("RGB", (40, 30), (i, 0, 0)).save(tmp_path / f"images/{i}.png")
        polygon = " ".join(f"{value / side:.6f}" for value, side in zip(SQUARE, [40, 30] * 4, strict=True))
        (tmp_path / f"labels/{i}.txt").write_text(f"0 {polygon}\n1 0.5 0.5 0.2 0.2\n")
    found = instances(YoloDataModule(root=str(tmp_path), **SETTINGS))
    crop = found.crops(0)[0]
    assert crop.area == 100 and (crop.left, crop.top) == (2, 3) and found.crowd[:2].tolist() == [False, True]


def test_the_fingerprint_changes_with_an_outline(tmp_path: Path) -> None:
    digests = set[bytes]()
    for folder, outline in (("a", SQUARE), ("b", [*SQUARE, 2.0, 5]), ("c", SQUARE)):
        (tmp_path / folder).mkdir()
        targets = instances(coco(tmp_path / folder, [outline], bbox=[2, 3, 10, 10]))
        digests.add(targets.digest(np.arange(12)))
    assert len(digests) == 2


def test_digit_scenes_have_the_pixels_of_each_digit() -> None:
    found = instances(DigitScenesDataModule(scenes=20, scene_px=72, **SETTINGS))
    scene = draw_scene(3, pools(20)[3], 72)
    for m, crop in enumerate(found.crops(3)):
        assert np.array_equal(crop.whole((72, 72)), scene.instances == m + 1)


def test_compressed_run_lengths_stay_as_they_are() -> None:
    text, size = run_lengths(RING_RUNS)
    assert run_lengths({"size": [30, 40], "counts": text.decode()}) == (text, size) and size == (40, 30)
