"""Objects with masks as they are predicted: rows, JSON, COCO results, numbers of pixels, tiles."""

from typing import Any

import numpy as np
import torch
from faster_coco_eval.core import mask as coco_mask
from PIL import Image

from src.models.mask_detector import MASK_PX, MASK_VALUES
from src.tasks.detection.tiles import merged_tiles
from src.tasks.instance_segmentation.export import InstanceSegmentationOutputs, PlacedOutputs
from src.tasks.instance_segmentation.prediction import InstanceSegmentationPrediction as Prediction

NAMES = ["cat", "dog"]
SIZE = (40, 30)


def rows(*objects: tuple[list[float], float, int, Any]) -> torch.Tensor:
    """Outputs [1, D, 6 + S * S] with boxes in pixels, of boxes, scores, classes and masks that broadcast to [S, S]."""
    found = [
        torch.cat([torch.tensor([*box, score, k]), torch.as_tensor(mask).expand(MASK_PX, MASK_PX).reshape(-1)])
        for box, score, k, mask in objects
    ]
    return torch.stack([*found, torch.tensor([0.0, 0, 0, 0, 0, -1] + [0.0] * MASK_VALUES)])[None]


LEFT_HALF = (torch.arange(MASK_PX) < MASK_PX / 2).float()[None]


def predicted(*objects: tuple[list[float], float, int, Any]) -> Prediction:
    layer = InstanceSegmentationOutputs(NAMES, [0.5, 0.5])
    return Prediction.of(layer.arrays(PlacedOutputs(rows(*objects), torch.tensor([SIZE]))), layer)[0]


BOTH = ([10.0, 5, 30, 25], 0.9, 1, LEFT_HALF), ([0.0, 0, 12, 8], 0.7, 0, torch.tensor(1.0))


def test_each_answer_has_the_pixels_of_its_mask() -> None:
    one = predicted(*BOTH, ([0.0, 0, 5, 5], 0.3, 0, torch.tensor(1.0)))
    assert [crop.area for crop in one.crops] == [10 * 20, 12 * 8] and one.names == ["dog", "cat"]
    assert (one.crops[0].left, one.crops[0].top, one.crops[0].pixels[:, 10:].any()) == (10, 5, False)
    assert [row["pixels"] for row in one.rows()] == ["200", "96"] and predicted().rows()[0]["pixels"] == ""
    assert [found["area"] for found in one.as_json()["boxes"]] == [200, 96]
    (found,) = one.as_json(1)["boxes"]
    assert found["prediction"] == "dog" and coco_mask.decode(found["segmentation"]).sum() == 200
    assert set(one.rows()[0]) == {*Prediction.columns(NAMES)} - {"error"}


def test_numbers_of_pixels_are_those_of_the_rows_and_the_surest_is_on_top() -> None:
    numbers = np.asarray(predicted(*BOTH).as_mask())
    assert numbers.shape == (30, 40) and numbers[6, 10] == 1 and numbers[0, 0] == 2 and numbers[29, 39] == 0
    assert (numbers == 1).sum() == 200 and (numbers == 2).sum() == 96 - 2 * 3  # where both are
    many = predicted(*([([0.0, 0, 2, 2], 0.9, 0, torch.tensor(1.0))] * 300))
    assert many.as_mask().mode == "I;16" and np.asarray(many.as_mask())[0, 0] == 1


def test_coco_results_have_the_masks_as_coco_reads_them() -> None:
    found = predicted(*BOTH).annotations(SIZE)[0]
    assert found["bbox"] == [10, 5, 20, 20] and found["area"] == 200
    assert np.array_equal(coco_mask.decode(found["segmentation"]) > 0, predicted(*BOTH).crops[0].whole(SIZE))


def test_masks_are_painted_on_the_image() -> None:
    image = Image.new("RGB", (400, 300))
    one = predicted(([100.0, 50, 300, 250], 0.9, 1, LEFT_HALF))
    pixels = np.asarray(one.drawn_on(image)).sum(axis=2)
    assert pixels[150, 150] > 0 and pixels[150, 250] == 0 and not np.asarray(image).any()


def test_masks_stay_with_their_boxes_when_tiles_are_joined() -> None:
    tiles = torch.cat(
        [rows(([0.1, 0.1, 0.5, 0.5], 0.9, 1, LEFT_HALF)), rows(([0.4, 0.4, 0.9, 0.9], 0.8, 0, torch.tensor(1.0)))]
    )
    merged = merged_tiles(tiles, torch.tensor([[0, 0, 20, 20], [20, 0, 40, 20]]))
    assert merged.shape == (1, 2, 6 + MASK_VALUES)
    assert torch.equal(merged[0, 0, 6:], tiles[0, 0, 6:]) and torch.equal(merged[0, 1, 6:], tiles[1, 0, 6:])
    torch.testing.assert_close(merged[0, 1, :4], torch.tensor([28.0, 8, 38, 18]))


def test_the_last_layer_can_be_undone() -> None:
    layer = InstanceSegmentationOutputs(NAMES, None, slope=2.0, shift=0.3)
    undone, masks = layer.undo(layer.arrays(rows(*BOTH)))
    torch.testing.assert_close(undone, rows(*BOTH)[..., :6], rtol=1e-4, atol=1e-5)
    assert np.array_equal(masks[0, 0], LEFT_HALF.expand(MASK_PX, MASK_PX).numpy())
