"""Outlines of objects: which pixels polygons and run lengths cover, as COCO has it."""

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask

from src.data.annotations.outline_columns import OutlineColumns
from src.data.annotations.placed_outlines import turned_mask
from src.data.outlines import Outlines
from src.data.polygons import filled
from src.evaluation.pixels.crops import Crop, united
from src.evaluation.pixels.run_lengths import mask_of_runs, runs_of_mask, runs_of_text, text_of_runs

SIZE = (30, 30)


@pytest.mark.parametrize("seed", range(30))
def test_polygons_cover_the_pixels_that_coco_gives_them(seed: int) -> None:
    random = np.random.default_rng(seed)
    width, height = random.integers(4, 200, 2).tolist()
    points = np.round(random.uniform(-0.2, 1.2, (int(random.integers(3, 20)), 2)) * [width, height], seed % 4)
    expected = coco_mask.decode(coco_mask.frPyObjects([points.reshape(-1).tolist()], height, width))[:, :, 0]
    assert np.array_equal(filled(points, (width, height)).whole((width, height)), expected)


def test_a_polygon_without_an_area_or_beside_the_image_covers_nothing() -> None:
    for points in ([[3, 3], [3, 3], [3, 3]], [[20, 20], [30, 20], [30, 30]], [[1e9, 1], [2e9, 1], [2e9, 2]]):
        assert filled(np.array(points, dtype=np.float64), (10, 10)).area == 0


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (40, 63)])
def test_run_lengths_are_coco_s(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    for share in (0, 0.03, 0.5, 1):
        mask_HW = random.random(shape) < share
        text = text_of_runs(runs_of_mask(mask_HW))
        assert text == coco_mask.encode(np.asfortranarray(mask_HW.astype(np.uint8)))["counts"]
        assert np.array_equal(mask_of_runs(runs_of_text(text), shape), mask_HW)


@pytest.mark.parametrize("text", ["P", "\x7f", "PPPPPPPPPPPPPPPPPPP0", "é"])
def test_text_that_is_no_run_lengths_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        runs_of_text(text)


def test_segmentations_of_all_kinds_become_the_pixels_they_mean() -> None:
    ring = np.zeros((12, 10), dtype=np.bool_)
    ring[2:9, 1:8] = True
    ring[4:6, 3:5] = False  # a hole
    columns, square = OutlineColumns(), [1.0, 1, 5, 1, 5, 5, 1, 5]
    runs = runs_of_mask(ring)
    for segmentation in (
        [square, [6.0, 6, 9, 6, 9, 9, 6, 9]],  # an object in two parts
        {"size": [12, 10], "counts": runs.tolist()},
        {"size": [12, 10], "counts": text_of_runs(runs).decode()},
        square,
        [[1.0, 2, 3, 4]],  # two corners
        {"size": [12, 10], "counts": [200, 5]},
        {"size": [12, 10], "counts": "P"},
        [[1.0, "x", 3, 4, 5, 6]],
        [[1.0, float("nan"), 3, 4, 5, 6]],
        None,
    ):
        columns.add_segmentation(segmentation)
    outlines = columns.finish()
    assert outlines.present.tolist() == [True] * 4 + [False] * 6
    masks = [outlines.crop(m, (10, 12), (10, 12)).whole((10, 12)) for m in range(len(outlines))]
    assert masks[0].sum() == 16 + 9 and masks[0][1:5, 1:5].all() and masks[0][6:9, 6:9].all()
    assert np.array_equal(masks[1], ring) and np.array_equal(masks[2], ring)
    assert masks[3].sum() == 16 and not any(mask.any() for mask in masks[4:])


def test_objects_are_taken_and_joined_with_their_own_outlines() -> None:
    random = np.random.default_rng(0)
    columns = OutlineColumns()
    for _ in range(9):
        parts = int(random.integers(0, 4))
        columns.add_polygons([random.uniform(0, 30, 2 * int(random.integers(3, 8))).tolist() for _ in range(parts)])
    masks = [random.random((30, 30)) < 0.3 for _ in range(4)]
    both = Outlines.joined([columns.finish(), Outlines.of_masks(masks)])
    order = random.permutation(13)[:10]
    taken = both.take(order)
    for place, m in enumerate(order.tolist()):
        one, other = taken.crop(place, SIZE, SIZE).whole(SIZE), both.crop(m, SIZE, SIZE).whole(SIZE)
        assert np.array_equal(one, other)
    assert np.array_equal(both.crop(10, SIZE, SIZE).whole(SIZE), masks[1])


def test_outlines_are_scaled_by_the_middles_of_pixels() -> None:
    mask_HW = np.arange(64).reshape(8, 8) % 3 == 0
    scaled = Outlines.of_masks([mask_HW]).crop(0, (8, 8), (4, 2)).whole((4, 2))
    assert np.array_equal(scaled, mask_HW[2::4, 1::2])
    columns = OutlineColumns()
    columns.add_polygons([[2, 2, 6, 2, 6, 6, 2, 6]])
    half = columns.finish().crop(0, (8, 8), (4, 4)).whole((4, 4))
    assert half[1:3, 1:3].all() and half.sum() == 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_turn_as_images_do(orientation: int) -> None:
    from PIL import Image, ImageOps

    mask_HW = np.random.default_rng(0).random((5, 7)) < 0.5
    image = Image.fromarray(mask_HW.astype(np.uint8))
    image.getexif()[0x0112] = orientation
    assert np.array_equal(turned_mask(mask_HW, orientation), np.asarray(ImageOps.exif_transpose(image)) > 0)


def test_crops_have_in_common_what_their_masks_have() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        masks = [np.zeros((20, 30), dtype=np.bool_) for _ in range(2)]
        for mask_HW in masks:
            (top, left), (height, width) = random.integers(0, 15, 2), random.integers(1, 15, 2)
            part = mask_HW[top : top + height, left : left + width]
            part[:] = random.random(part.shape) < 0.5
        one, two = map(Crop.of, masks)
        assert one.common(two) == (masks[0] & masks[1]).sum() and one.area == masks[0].sum()
        assert np.array_equal(united([one, two, Crop.empty()]).whole((30, 20)), masks[0] | masks[1])
