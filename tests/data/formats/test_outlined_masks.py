"""A class for each pixel from the outlines of objects: COCO json and YOLO's label files."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from src.data.formats.coco import CocoDataModule
from src.data.formats.yolo import YoloDataModule
from src.data.masks import Masks
from src.evaluation.pixels.confusion import VOID
from src.evaluation.pixels.run_lengths import runs_of_mask
from src.models.preprocessing import Preprocessing
from src.settings.errors import ConfigError
from src.settings.nodes import Augmentation

PREPROCESSING = Preprocessing(36, 32, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SETTINGS: dict[str, Any] = {
    "batch_size": 2, "num_workers": 0, "augmentation": Augmentation(), "seed": 0, "preprocessing": PREPROCESSING,
    "targets": "masks", "cache": "none",
}  # fmt: skip
LARGE, SMALL = [2.0, 2, 30, 2, 30, 22, 2, 22], [10.0, 10, 20, 10, 20, 16, 10, 16]
CROWD = np.zeros((30, 40), dtype=np.bool_)
CROWD[0:12, 0:40] = True
CROWD_RUNS = {"size": [30, 40], "counts": runs_of_mask(CROWD).tolist()}


def coco(root: Path, *objects: dict[str, Any], turn: int = 1, **settings: Any) -> CocoDataModule:
    """Twelve images of 40 x 30 pixels, stored; the objects are in each."""
    facts = Image.Exif()
    facts[0x0112] = turn
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 40, "height": 30} for i in range(12)]
    for image in images:
        Image.new("RGB", (40, 30), (image["id"], 0, 0)).save(root / image["file_name"], exif=facts)  # type: ignore[call-overload]
    annotations = [{"id": n, "image_id": i, "iscrowd": 0, **one} for i in range(12) for n, one in enumerate(objects)]
    categories = [{"id": 3, "name": "cat"}, {"id": 9, "name": "dog"}, {"id": 11, "name": "cow"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "x.json").write_text(json.dumps(content), encoding="utf-8")
    return CocoDataModule(root=str(root), **{**SETTINGS, **settings})


def masks_of(data: Any) -> Masks:
    targets = data.table.targets
    assert isinstance(targets, Masks)
    return targets


def expected() -> np.ndarray:
    mask_HW = np.zeros((30, 40), dtype=np.uint8)
    mask_HW[2:22, 2:30] = 1
    mask_HW[10:16, 10:20] = 2
    return mask_HW


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_smaller_objects_lie_over_larger_ones(tmp_path: Path, order: list[int]) -> None:
    objects = [{"category_id": 3, "segmentation": [LARGE]}, {"category_id": 9, "segmentation": [SMALL]}]
    found = masks_of(coco(tmp_path, *(objects[n] for n in order)))
    assert found.names == ["background", "cat", "dog"] and found.size(0) == (40, 30)
    assert np.array_equal(found.mask(3), expected())
    assert found.values[3].tolist() == [3, 40, 30, 0, *np.bincount(expected().reshape(-1)).tolist()]


def test_what_is_not_clear_is_void_under_what_is(tmp_path: Path) -> None:
    """Crowds, and objects with a box alone."""
    objects = [
        {"category_id": 9, "segmentation": [SMALL]},
        {"category_id": 9, "segmentation": CROWD_RUNS, "iscrowd": 1},
        {"category_id": 3, "bbox": [25, 20, 10, 8]},
    ]
    found = masks_of(data := coco(tmp_path, *objects))
    truth = np.zeros((30, 40), dtype=np.uint8)
    truth[0:12], truth[20:28, 25:35] = VOID, VOID
    truth[10:16, 10:20] = found.names.index("dog")
    assert np.array_equal(found.mask(0), truth)
    assert "12 of 36 objects have a box alone and no outline" in "\n".join(data.table.notes)


def test_masks_turn_with_their_images(tmp_path: Path) -> None:
    objects = [{"category_id": 3, "segmentation": [LARGE]}, {"category_id": 9, "segmentation": [SMALL]}]
    data = coco(tmp_path, *objects, turn=6)
    assert data.table.read(0).size == (30, 40) == masks_of(data).size(0)
    assert np.array_equal(masks_of(data).mask(0), np.rot90(expected(), 3))


def test_the_second_start_draws_no_mask(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    objects = [{"category_id": 3, "segmentation": [LARGE]}, {"category_id": 9, "segmentation": [SMALL]}]
    (root := tmp_path / "data").mkdir()
    settings = {"cache": "images", "cache_dir": str(tmp_path / "cache")}
    first = coco(root, *objects, **settings)
    fingerprint = first.table.fingerprint()
    with caplog.at_level(logging.INFO):
        again = CocoDataModule(root=str(root), **{**SETTINGS, **settings})
        assert again.table.fingerprint() == fingerprint
    assert "Annotations of" in caplog.text and len(list((tmp_path / "cache").glob("drawn_masks_*"))) == 1
    assert coco(root, objects[0], **settings).table.fingerprint() != fingerprint
    assert len(list((tmp_path / "cache").glob("drawn_masks_*"))) == 2


def test_known_classes_go_by_name(tmp_path: Path) -> None:
    known = ["dog", "background", "cat", "sheep"]
    objects = [{"category_id": 3, "segmentation": [LARGE]}, {"category_id": 9, "segmentation": [SMALL]}]
    found = masks_of(coco(tmp_path, *objects, known_classes=known))
    assert found.names == known and np.array_equal(found.mask(0), np.array([1, 2, 0])[expected()])
    with pytest.raises(ConfigError, match="classes that the model lacks: background, cat"):
        _ = coco(tmp_path, *objects, known_classes=["dog"]).table


def test_boxes_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="its objects have boxes alone, and this task learns their outlines"):
        _ = coco(tmp_path, {"category_id": 3, "bbox": [25, 20, 10, 8]}).table


def test_polygons_of_yolo(tmp_path: Path) -> None:
    """An image with an empty label file is background; of one without, nobody knows what its pixels are."""
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for i in range(12):
        Image.new("RGB", (40, 30), (i, 0, 0)).save(tmp_path / f"images/{i:02d}.png")
        corners = " ".join(f"{v / (40, 30)[n % 2]:.6f}" for n, v in enumerate(LARGE))
        (tmp_path / f"labels/{i:02d}.txt").write_text(f"4 {corners}\n")
    (tmp_path / "labels/01.txt").write_text("")
    (tmp_path / "labels/02.txt").unlink()
    data = YoloDataModule(root=str(tmp_path), **SETTINGS)
    found = masks_of(data)
    assert found.names == ["background", "4"] and len(data.table) == 11
    assert np.array_equal(found.mask(0), (expected() > 0)) and not found.mask(1).any()
    assert "1 image has no label file: left out: images/02.png" in "\n".join(data.table.notes)
