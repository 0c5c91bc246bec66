"""Logits of tiles that overlap, blended to the class of each pixel of a large image."""

import pytest
import torch
from torch import Tensor

from src.models.segmenter import answers_at, enlarged
from src.predicting.tiles import Tiling
from src.tasks.segmentation import tiles
from src.tasks.segmentation.tiles import blended_tiles


@pytest.mark.parametrize("size", [(40, 40), (37, 52)])
def test_one_tile_is_as_the_image_alone(size: tuple[int, int]) -> None:
    logits_1Khw = 3 * torch.randn(1, 5, 10, 13, generator=torch.Generator().manual_seed(0))
    found = blended_tiles(logits_1Khw, torch.tensor([[0, 0, size[1], size[0]]]), temperature=1.7)
    mask_HW, confidence_HW = answers_at(logits_1Khw[0], size, temperature=1.7)
    assert found["mask"].shape == size and (found["mask"] == mask_HW).float().mean() > 0.998  # but for ties
    torch.testing.assert_close(found["confidence"], confidence_HW, atol=1e-5, rtol=0)


def tiles_of(logits_KHW: Tensor, places: list[tuple[int, int, int, int]]) -> Tensor:
    """As maps with a place for each pixel."""
    return torch.stack([logits_KHW[:, y1:y2, x1:x2] for x1, y1, x2, y2 in places])


def test_tiles_that_agree_give_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a part of the image is computed a few rows at a time."""
    logits_KHW = enlarged(4 * torch.randn(1, 3, 6, 9, generator=torch.Generator().manual_seed(0)), (70, 101))[0]
    places = Tiling(32, 0.4).places((101, 70))
    found = blended_tiles(tiles_of(logits_KHW, places), torch.tensor(places), temperature=1.0)
    assert (found["mask"] == logits_KHW.argmax(dim=0)).all()
    torch.testing.assert_close(found["confidence"], logits_KHW.softmax(dim=0).amax(dim=0))
    monkeypatch.setattr(tiles, "PIXELS_AT_ONCE", 100)
    again = blended_tiles(tiles_of(logits_KHW, places), torch.tensor(places), temperature=1.0)
    assert (again["mask"] == found["mask"]).all()


def test_tiles_that_disagree_fade_into_each_other() -> None:
    """The left one is sure of class 0, the right one of class 1; both see pixels 20 to 39."""
    logits_TKhw = torch.zeros(2, 2, 4, 4)
    logits_TKhw[0, 0], logits_TKhw[1, 1] = 20.0, 20.0
    found = blended_tiles(logits_TKhw, torch.tensor([[0, 0, 40, 8], [20, 0, 60, 8]]), temperature=1.0)
    assert found["mask"].tolist() == [[0.0] * 30 + [1.0] * 30] * 8
    left_W = torch.where(found["mask"][0] == 0, found["confidence"][0], 1 - found["confidence"][0])
    expected = torch.cat([torch.ones(20), 1 - (torch.arange(20) + 0.5) / 20, torch.zeros(20)])
    torch.testing.assert_close(left_W, expected, atol=1e-4, rtol=0)
