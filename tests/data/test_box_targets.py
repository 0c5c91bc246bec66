"""Boxes as targets: columns, what splits and logs get of them, and that they stay on their objects."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.data.box_transforms import training_box_transform
from src.data.boxes import Boxes
from src.data.dataset import Collate, ImageDataset
from src.data.table import ImageTable, string_column
from src.data.transforms import Transform, evaluation_transform
from src.models.preprocessing import Preprocessing
from src.settings.nodes import Augmentation

# Three images: two boxes, none, and one beside a crowd.
BOXES = Boxes(
    np.array([[0, 2, 80, 40], [2, 0, 10, 20], [2, 2, 80, 40]]),
    ["cat", "dog"],
    np.array([[20, 0, 40, 40], [0, 0, 10, 10], [60, 20, 80, 40], [0, 0, 80, 40]], dtype=np.float32),
    np.array([0, 1, 1, 0]),
    np.array([False, False, False, True]),
)
ALL = np.arange(3)


def test_what_is_said_of_boxes() -> None:
    assert [BOXES.text(row) for row in range(3)] == ["cat 1;dog 1", "", "cat 1;dog 1"]
    assert BOXES.counts(ALL).tolist() == [1, 2]  # images; crowds do not count
    assert BOXES.size(1) == (10, 20) and BOXES.largest_count == 2
    assert BOXES.describe(ALL) == "Classes in train: dog 2, cat 1 (images that show it; 4 boxes, 1 without boxes)"
    places_m, positions_m = BOXES.places(np.array([2, 0]))
    assert places_m.tolist() == [2, 3, 0, 1] and positions_m.tolist() == [0, 0, 1, 1]


def test_splits_spread_the_rarest_class_of_each_image_evenly() -> None:
    classes = np.array([0, 0, 1, 0])  # the third box makes dogs rarer than cats
    rare = Boxes(BOXES.values, BOXES.names, BOXES.boxes_xyxy, classes, BOXES.crowd)
    assert rare.strata(ALL).tolist() == [0, 2, 1]  # cat, nothing, dog


def test_a_part_of_the_images_has_its_own_boxes() -> None:
    part = BOXES.take(np.array([2]))
    assert len(part) == 1 and part.text(0) == "cat 1;dog 1"
    assert part.rows_of(0).tolist() == [[60, 20, 80, 40, 1, 0], [0, 0, 80, 40, 0, 1]]


def test_the_fingerprint_changes_with_each_part_of_a_box() -> None:
    before = BOXES.digest(ALL)
    for name, value in {"boxes_xyxy": 39.5, "class_ids": 1, "crowd": True}.items():
        changed = getattr(BOXES, name).copy()
        changed[0] = value
        arrays = {"boxes_xyxy": BOXES.boxes_xyxy, "class_ids": BOXES.class_ids, "crowd": BOXES.crowd, name: changed}
        other = Boxes(BOXES.values, BOXES.names, **arrays)
        assert other.digest(ALL) != before, name
        assert other.digest(ALL[1:]) == BOXES.digest(ALL[1:])  # of the other images it is the same


def test_crowds_are_not_trained_on_and_are_told_to_the_metrics() -> None:
    sample = BOXES.sample(2, (40, 20))
    assert sample["boxes"].tolist() == [[30, 10, 40, 20]] and sample["labels"].tolist() == [1]  # half the size
    assert sample["truth"][:, :4].tolist() == [[60, 20, 80, 40], [0, 0, 80, 40]]  # in pixels of the file
    assert sample["size_wh"].tolist() == [80, 40]
    assert BOXES.sample(1, (10, 20))["boxes"].shape == (0, 4)


def white_box(tmp_path: Path, augmentation: Augmentation | None, mode: str, size_px: int = 32) -> ImageDataset:
    """An image of 80 x 40 pixels, black but for the box of the cat, which is white."""
    pixels = np.zeros((40, 80, 3), dtype=np.uint8)
    pixels[:, 20:40] = 255
    Image.fromarray(pixels).save(tmp_path / "0.png")
    cat = Boxes(np.array([[0, 1, 80, 40]]), ["cat"], BOXES.boxes_xyxy[:1], BOXES.class_ids[:1], BOXES.crowd[:1])
    table = ImageTable(string_column(["0.png"]), cat, {}, root=tmp_path)
    preprocessing = Preprocessing(size_px, size_px, "bilinear", (0, 0, 0), (1, 1, 1)).keeping_shape(None, None, mode)
    transform: Transform = evaluation_transform(preprocessing)
    if augmentation is not None:
        transform = training_box_transform(preprocessing, augmentation)
    return ImageDataset(table, np.arange(1), transform, seed=0, substitute=False)


PLACES = {"fit": [8, 0, 16, 16], "stretch": [8, 0, 16, 32]}
SHAPES = {"fit": (3, 16, 32), "stretch": (3, 32, 32)}


@pytest.mark.parametrize("mode", PLACES)
def test_images_are_scaled_with_their_boxes_and_neither_cropped_nor_padded(mode: str, tmp_path: Path) -> None:
    item = white_box(tmp_path, None, mode)[0]
    assert item["image"].shape == SHAPES[mode] and item["image"].dtype == torch.uint8
    assert item["label"]["boxes"].tolist() == [PLACES[mode]]


AUGMENTED = {
    "flips": Augmentation(horizontal_flip=0.5, vertical_flip=0.5),
    "scale_jitter": Augmentation(scale_jitter=0.5),
    "zoom_out": Augmentation(zoom_out=0.8),
    "iou_crop": Augmentation(iou_crop=0.8),
    "all": Augmentation(horizontal_flip=0.5, vertical_flip=0.5, scale_jitter=0.3, zoom_out=0.3, iou_crop=0.5),
}


@pytest.mark.parametrize("name", AUGMENTED)
@pytest.mark.parametrize("mode", PLACES)
def test_painted_boxes_stay_on_their_pixels_through_every_augmentation(name: str, mode: str, tmp_path: Path) -> None:
    """White pixels are inside the box and fill it, however the image was changed.

    A random crop drops a box whose centre is outside, as SSD's does; the others drop none that can be seen.
    """
    dataset, different = white_box(tmp_path, AUGMENTED[name], mode, size_px=64), set()
    for epoch in range(40):
        item = dataset[epoch, 0]
        image_HW, target = item["image"].float().mean(dim=0), item["label"]
        assert len(target["boxes"]) == len(target["labels"]) <= 1
        if AUGMENTED[name].iou_crop and not len(target["boxes"]):
            continue
        inside = torch.zeros(image_HW.shape)
        for left, top, right, bottom in target["boxes"].round().int().tolist():
            assert 0 <= left < right <= image_HW.shape[1] and 0 <= top < bottom <= image_HW.shape[0]
            inside[top:bottom, left:right] = 1
        wrong = ((image_HW > 180) & (inside == 0)) | ((image_HW < 70) & (inside == 1))
        assert wrong.float().mean() < 0.03, (epoch, target)
        different.add((item["image"].shape, tuple(target["boxes"].flatten().tolist())))
    assert len(different) > (1 if name == "flips" else 20)  # something was changed


def test_what_is_drawn_follows_from_seed_epoch_and_image(tmp_path: Path) -> None:
    one, other = (white_box(tmp_path, AUGMENTED["all"], "fit")[3, 0] for _ in range(2))
    assert torch.equal(one["image"], other["image"]) and torch.equal(one["label"]["boxes"], other["label"]["boxes"])


def test_images_of_different_shapes_are_a_list_with_a_target_each(tmp_path: Path) -> None:
    items = [white_box(tmp_path, None, mode)[0] for mode in PLACES]
    batch = Collate(32, BOXES)(items)
    assert [tuple(image.shape) for image in batch["image"]] == list(SHAPES.values())
    assert [len(target["boxes"]) for target in batch["label"]] == [1, 1]
    assert Collate(32, BOXES)([{"unreadable": []}])["label"] == []
