"""Large images in tiles: where the tiles lie, which boxes are kept, and a canvas of scenes."""

import csv
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Answer, Run
from PIL import Image
from support.scenes import scene, write_scenes
from torch import Tensor

from src.predicting.tiles import Tiling
from src.tasks.detection.tiles import merged_tiles

CORNERS = ("x1", "y1", "x2", "y2")


@pytest.mark.parametrize("size", [(640, 640), (641, 300), (2000, 1500), (1283, 999), (100, 5000)])
@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.33, 0.9])
def test_tiles_cover_the_image_and_overlap(size: tuple[int, int], overlap: float) -> None:
    places = Tiling(640, overlap).places(size)
    seen = np.zeros(size, dtype=int)
    for x1, y1, x2, y2 in places:
        assert (x2 - x1, y2 - y1) == (min(640, size[0]), min(640, size[1]))
        seen[x1:x2, y1:y2] += 1
    assert seen.min() == 1 and seen.shape == size
    for axis in (0, 1):
        starts = sorted({place[axis] for place in places})
        assert all(other - one <= 640 * (1 - overlap) + 1e-6 for one, other in pairwise(starts))
    assert len(places) == 1 or max(size) > 640


def outputs(boxes: list[list[tuple[float, ...]]], places: Tensor) -> Tensor:
    """[T, 4, 6] as of a network, of boxes x1, y1, x2, y2, score, class in pixels of the whole image."""
    rows = torch.tensor([0.0, 0, 0, 0, 0, -1]).repeat(len(boxes), 4, 1)
    for t, tile in enumerate(boxes):
        for d, box in enumerate(tile):
            rows[t, d] = torch.tensor(box)
            rows[t, d, :4] = (rows[t, d, :4] - places[t, :2].repeat(2)) / 100
    return rows


def test_what_two_tiles_see() -> None:
    """Two tiles of 100 pixels, of which the second begins at 80; the edge of the image is no cut."""
    places = torch.tensor([[0, 0, 100, 100], [80, 0, 180, 100]])
    whole, cut = (84.0, 10, 120, 30, 0.6, 1), (85.0, 10, 100, 30, 0.9, 1)  # of one object: the cut one is surer
    twice, again = (86.0, 50, 96, 70, 0.8, 2), (86.0, 51, 96, 70, 0.7, 2)  # both see all of it
    other = (86.0, 50, 96, 70, 0.65, 3)  # the same place, another class
    at_border = (0.0, 80, 10, 100, 0.5, 4)  # cut by the image's own edge
    long = (60.0, 75, 100, 90, 0.4, 5)  # reaches beyond what the second sees
    longer = (80.0, 75, 130, 90, 0.3, 6)  # and beyond what the first sees
    found = merged_tiles(outputs([[cut, twice, at_border, long], [whole, again, other, longer]], places), places)
    wanted = sorted([whole, twice, other, at_border, long, longer], key=lambda box: -box[4])
    torch.testing.assert_close(found, torch.tensor([wanted]), atol=1e-4, rtol=0)


def test_a_box_cut_from_below_and_from_the_left() -> None:
    places = torch.tensor([[0, 0, 100, 100], [80, 0, 180, 100], [0, 80, 100, 180], [80, 80, 180, 180]])
    left, below = (80.0, 20, 95, 40, 0.9, 1), (20.0, 80, 40, 99, 0.9, 1)
    corner = (84.0, 84, 100, 100, 0.9, 1)
    found = merged_tiles(outputs([[corner], [left], [below], []], places), places)
    assert found.shape == (1, 0, 6)  # those that see more of them found nothing


def test_nothing_found_anywhere() -> None:
    places = torch.tensor([[0, 0, 100, 100], [80, 0, 180, 100]])
    assert merged_tiles(outputs([[], []], places), places).shape == (1, 0, 6)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return [row for row in csv.DictReader(lines) if row["x1"]]


def boxes_of(rows: list[dict[str, str]]) -> list[tuple[float, ...]]:
    return [(*(float(row[c]) for c in CORNERS), float(row["prediction"]), float(row["score"])) for row in rows]


@pytest.fixture
def predict(scenes_run: Run, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def call(images: str, *arguments: str) -> list[dict[str, str]]:
        typed = (f"ckpt={scenes_run.directory}", f"images={images}", "accelerator=cpu", "num_workers=0")
        answer: Answer = command("predict", *typed, "output=p.csv", "score_threshold=0.05", *arguments)
        assert answer.status == 0, answer.err
        return rows_of(tmp_path / "p.csv")

    return call


def test_a_canvas_of_scenes_has_the_boxes_of_the_scenes(predict: Any, tmp_path: Path) -> None:
    """Tiles without overlap are the scenes themselves; the canvas is turned by its EXIF tag, and boxes are upright."""
    write_scenes(tmp_path / "images", 6)
    canvas = Image.new("RGB", (192, 128))
    for number in range(6):
        canvas.paste(scene(number), (number % 3 * 64, number // 3 * 64))
    exif = Image.Exif()
    exif[0x0112] = 6
    canvas.rotate(90, expand=True).save(tmp_path / "canvas.png", exif=exif)
    wanted = []
    for row in predict("images"):
        number = int(Path(row["path"]).stem)
        (x1, y1, x2, y2, name, score) = boxes_of([row])[0]
        left, top = number % 3 * 64, number // 3 * 64
        wanted.append((x1 + left, y1 + top, x2 + left, y2 + top, name, score))
    found = boxes_of(predict("canvas.png", "tile_px=64", "tile_overlap=0", "batch_size=4"))
    assert len(found) == len(wanted) > 6
    wanted.sort(key=lambda box: -box[5])
    np.testing.assert_allclose(sorted(found), sorted(wanted), atol=0.02)


def test_small_images_are_untouched_and_broken_ones_are_told(predict: Any, tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "images", 3)
    (folder / "broken.png").write_bytes(b"no image")
    assert predict("images", "batch_size=1")
    plain = (tmp_path / "p.csv").read_text()
    predict("images", "tile_px=64")
    assert (tmp_path / "p.csv").read_text() == plain and "cannot identify" in plain


def test_all_pixels_are_read_where_there_are_tiles(tmp_path: Path) -> None:
    """A JPEG is otherwise decoded reduced."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 800)).save(tmp_path / "large.jpg", exif=exif)
    for side_px, size in ((800, (400, 200)), (799, (800, 400))):
        image, size_wh, places = Tiling(side_px, 0.2).read(tmp_path / "large.jpg", 64)
        assert image.size == size and size_wh == (800, 400) and len(places) == (1 if side_px == 800 else 2)
