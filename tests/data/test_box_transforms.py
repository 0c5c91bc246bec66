"""Random changes of images with many boxes, and with none: each box keeps its class, and no object is without one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import typed
from PIL import Image
from support.painted_boxes import COLORS, QUICK, painted_boxes
from torch import Tensor
from torchvision import tv_tensors

from src.build.data import build_datamodule
from src.data.box_transforms import training_box_transform
from src.data.samplers import seeded
from src.models.preprocessing import Preprocessing
from src.settings.nodes import Augmentation

COLORS_K3 = torch.tensor(list(COLORS.values()), dtype=torch.float32)
PREPROCESSING = Preprocessing(160, 160, "bilinear", (0, 0, 0), (1, 1, 1)).keeping_shape(None, None, "fit")
AUGMENTED = {
    "flips": Augmentation(horizontal_flip=0.5, vertical_flip=0.5),
    "scale_jitter": Augmentation(scale_jitter=0.5),
    "rotation": Augmentation(rotation_degrees=25),
    "zoom_out": Augmentation(zoom_out=1.0),
    "iou_crop": Augmentation(iou_crop=1.0),
    "all": Augmentation(
        horizontal_flip=0.5, vertical_flip=0.5, scale_jitter=0.4, rotation_degrees=10, zoom_out=0.5, iou_crop=0.5
    ),
}


def checkerboard() -> tuple[Image.Image, dict[str, Tensor]]:
    """24 squares of 14 pixels on black, in three colours by class."""
    pixels = np.zeros((120, 160, 3), dtype=np.uint8)
    corners = [(6 + 26 * x, 8 + 28 * y) for y in range(4) for x in range(6)]
    for number, (left, top) in enumerate(corners):
        pixels[top : top + 14, left : left + 14] = list(COLORS.values())[number % 3]
    boxes = torch.tensor([[x, y, x + 14, y + 14] for x, y in corners], dtype=torch.float32)
    boxes = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(120, 160))
    return Image.fromarray(pixels), {"boxes": boxes, "labels": torch.arange(24) % 3}


def drawn(name: str, seed: int, image: Image.Image, target: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    transform = training_box_transform(PREPROCESSING, AUGMENTED[name])
    with seeded(seed):
        return transform.draw(*transform.prepare(image, target))


@pytest.mark.parametrize("name", AUGMENTED)
def test_classes_stay_with_their_boxes_and_no_object_loses_its_own(name: str) -> None:
    seen = 0
    for seed in range(25):
        image_CHW, target = drawn(name, seed, *checkerboard())
        pixels_HWC = image_CHW.permute(1, 2, 0).float()
        height, width = pixels_HWC.shape[:2]
        covered = torch.zeros(height, width, dtype=torch.bool)
        assert len(target["boxes"]) == len(target["labels"]) <= 24
        for (left, top, right, bottom), label in zip(target["boxes"].tolist(), target["labels"].tolist(), strict=True):
            assert 0 <= left < right <= width and 0 <= top < bottom <= height
            covered[max(int(top) - 1, 0) : int(bottom) + 2, max(int(left) - 1, 0) : int(right) + 2] = True
            at_edge = left < 1 or top < 1 or right > width - 1 or bottom > height - 1
            if min(right - left, bottom - top) >= 6 and not at_edge:
                color = pixels_HWC[int((top + bottom) / 2), int((left + right) / 2)]
                assert (COLORS_K3 - color).norm(dim=1).argmin() == label and color.max() > 100, (seed, label)
                seen += 1
        if not AUGMENTED[name].iou_crop:  # which drops boxes whose centre is outside
            assert not ((pixels_HWC.amax(dim=2) > 120) & ~covered).any(), seed
    assert seen > 150


@pytest.mark.parametrize("name", AUGMENTED)
def test_images_without_boxes_and_with_hundreds_go_through_all(name: str) -> None:
    empty = tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYXY", canvas_size=(120, 160))
    for seed in range(5):
        _, target = drawn(name, seed, checkerboard()[0], {"boxes": empty, "labels": torch.zeros(0, dtype=torch.int64)})
        assert target["boxes"].shape == (0, 4) and target["boxes"].dtype == torch.float32
        assert target["labels"].shape == (0,) and target["labels"].dtype == torch.int64
        image, many = checkerboard()
        boxes = tv_tensors.wrap(many["boxes"].repeat(15, 1), like=many["boxes"])
        _, target = drawn(name, seed, image, {"boxes": boxes, "labels": many["labels"].repeat(15)})
        assert len(target["boxes"]) == len(target["labels"]) > 100 or AUGMENTED[name].iou_crop


@pytest.mark.parametrize("size_wh", [(1000, 20), (20, 1000), (1, 1), (5, 7)])
def test_images_of_any_shape_go_through_all(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    box = tv_tensors.BoundingBoxes(torch.tensor([[0.0, 0, width, height]]), format="XYXY", canvas_size=(height, width))
    for seed in range(10):
        image_CHW, target = drawn(
            "all", seed, Image.new("RGB", size_wh, "white"), {"boxes": box, "labels": torch.ones(1)}
        )
        assert image_CHW.dtype == torch.uint8 and max(image_CHW.shape) <= 160 and min(image_CHW.shape) >= 1
        assert (target["boxes"] >= 0).all() and (target["boxes"][:, 2] <= image_CHW.shape[2]).all()


def test_what_the_data_do_not_bear_is_left_out(tmp_path: Path) -> None:
    settings = [*QUICK, f"data.file={painted_boxes(tmp_path, 16)}", "augment=boxes_strong"]
    usual = build_datamodule(typed(*settings)).augmentation
    assert usual.horizontal_flip == 0.5 and usual.iou_crop == 0.5
    careful = build_datamodule(typed(*settings, "data.mirror_safe=false", "data.crop_safe=false")).augmentation
    assert careful.horizontal_flip == careful.iou_crop == 0.0 and careful.scale_jitter == usual.scale_jitter
