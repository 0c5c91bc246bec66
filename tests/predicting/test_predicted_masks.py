"""src.predict for models that say a class for each pixel: masks as PNG, shares as csv, drawn images, tiles."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Answer, Run
from PIL import Image
from support.scenes import scene, write_scenes

from src.files.csv_files import read_csv_file
from src.predicting.output import mask_names


@pytest.fixture
def predict(pixels_run: Run, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """In an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Answer:
        return command("predict", f"ckpt={pixels_run.directory}", "accelerator=cpu", "num_workers=0", *arguments)

    return call


def test_a_mask_for_each_image_in_its_own_upright_size(predict: Any, tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "images", 3)
    (folder / "broken.png").write_bytes(b"no image")
    turned, exif = scene(1).resize((90, 60)).rotate(90, expand=True), Image.Exif()
    exif[0x0112] = 6  # to be turned back for looking at it
    (folder / "sub").mkdir()
    turned.save(folder / "sub" / "turned.png", exif=exif)
    scene(1).resize((90, 60)).save(folder / "wide.png")
    answer: Answer = predict("images=images", "masks=masks", "batch_size=4")
    assert answer.status == 0 and "6 images" in answer.err and "1 could not be read" in answer.err, answer.err
    rows = {Path(row["path"]).name: row for row in read_csv_file(tmp_path / "predictions.csv")}
    assert list(rows["0.png"])[:5] == ["path", "prediction", "confidence", "error", "share:background"]
    assert rows["broken.png"]["error"] == "cannot identify image file" and rows["broken.png"]["confidence"] == ""
    names = [name.removeprefix("share:") for name in rows["0.png"] if name.startswith("share:")]
    found: set[str] = set()
    for path, size in {"0.png": (64, 64), "wide.png": (90, 60), "sub/turned.png": (90, 60)}.items():
        with Image.open(tmp_path / "masks" / path) as mask:
            assert mask.mode == "P" and mask.size == size
            assert mask.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]  # of Pascal VOC
            counts = np.bincount(np.asarray(mask).reshape(-1), minlength=11)
        row = rows[Path(path).name]
        assert np.allclose([float(row[f"share:{name}"]) for name in names], counts / counts.sum(), atol=1e-6)
        there = sorted(names[k] for k in range(11) if counts[k] >= 0.005 * counts.sum())
        assert sorted(row["prediction"].split(";")) == there
        found |= set(there)
        assert 0.2 < float(row["confidence"]) < 1
    assert len(found) > 1
    masks = [np.asarray(Image.open(tmp_path / "masks" / name)) for name in ("wide.png", "sub/turned.png")]
    assert (masks[0] == masks[1]).all() and not (tmp_path / "masks" / "broken.png").exists()
    labels = (tmp_path / "masks" / "labelmap.txt").read_text().splitlines()
    assert labels[1:3] == ["background:0,0,0::", "0:128,0,0::"] and len(labels) == 12


def test_an_image_has_the_same_mask_whatever_it_is_computed_with(predict: Any, tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "images", 4)
    scene(5).resize((100, 70)).save(folder / "wide.png")
    predict("images=images", "masks=together", "batch_size=5")
    predict("images=images", "masks=alone", "batch_size=1")
    for name in ("0", "3", "wide"):
        one, other = (np.asarray(Image.open(tmp_path / where / f"{name}.png")) for where in ("together", "alone"))
        assert (one == other).mean() > 0.999


def test_masks_are_written_over_nothing_but_masks(predict: Any, tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "images", 2)
    for _ in range(2):  # over its own earlier output
        assert predict("images=images", "masks=masks").status == 0
    scene(0).save(tmp_path / "masks" / "1.png")  # somebody's own
    answer = predict("images=images", "masks=masks")
    assert answer.status == 1 and "masks: 'masks/1.png' is there already" in answer.err
    assert predict("images=images", "masks=masks", "overwrite=true").status == 0
    (tmp_path / "masks" / "labelmap.txt").write_text("mine:1,2,3::\n")
    assert "'masks/labelmap.txt' is there already" in predict("images=images", "masks=masks").err
    assert "is in the folder of the images" in predict("images=images", "masks=images/masks").err
    before = (folder / "0.png").read_bytes()
    answer = predict("images='images/*.png'", "masks=images", "overwrite=true")
    assert answer.status == 1 and "0.png is one of the images and would be lost" in answer.err
    assert (folder / "0.png").read_bytes() == before


def test_names_of_masks_are_those_of_the_images(tmp_path: Path) -> None:
    images = ["a.jpg", "sub/b.tif", "sub/../c.png", "c.bmp", "D.png", "d.jpg", "a.jpg"]
    found = mask_names([tmp_path / image for image in images])
    assert found == ["a.png", "sub/b.png", "c.png.png", "c.bmp.png", "D.png.png", "d.jpg.png", "a.png"]
    assert mask_names([tmp_path / "far" / "a.v2.jpg"]) == ["a.v2.png"]


def test_images_with_their_masks_over_them(predict: Any, tmp_path: Path) -> None:
    write_scenes(tmp_path / "images", 1)
    assert predict("images=images", "draw=drawn", "masks=masks").status == 0
    mask = np.asarray(Image.open(tmp_path / "masks" / "0.png")).repeat(6, axis=0).repeat(6, axis=1)
    with Image.open(tmp_path / "drawn" / "00001_0.jpg") as drawn:
        assert drawn.width == 384 and drawn.height > 384  # enlarged, with the names of the classes below
        pixels = np.asarray(drawn, dtype=int)[:384]
    plain = np.asarray(scene(0).resize((384, 384), Image.Resampling.NEAREST), dtype=int)
    assert (plain - pixels)[mask == 0].mean() > 10  # a little darker
    changed = np.abs(pixels - plain).max(axis=2)
    assert changed[mask > 0].mean() > changed[mask == 0].mean()


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("score_threshold=0.5", "score_threshold=0.5 is for models that find objects"),
        ("output=p.json", "output=p.json is for models that find objects"),
        ("abstain_below=0.5", "abstain_below=0.5 compares the confidence of one class per image"),
        ("embeddings=true", "embeddings=true: this model makes no single vector"),
    ],
)
def test_what_these_models_cannot(predict: Any, tmp_path: Path, argument: str, text: str) -> None:
    write_scenes(tmp_path / "images", 1)
    answer: Answer = predict("images=images", argument)
    assert answer.status == 1 and text in answer.err, answer.err


def test_large_images_in_tiles(predict: Any, tmp_path: Path) -> None:
    """Of scenes side by side each tile sees one; alone, scaled down to the network's size, they would be small."""
    folder = write_scenes(tmp_path / "images", 4)
    canvas = Image.new("RGB", (128, 128))
    for n in range(4):
        canvas.paste(scene(n), (64 * (n % 2), 64 * (n // 2)))
    (tmp_path / "large").mkdir()
    canvas.save(tmp_path / "large" / "all.png")
    (tmp_path / "large" / "broken.png").write_bytes(b"no image")
    predict("images=images", "masks=masks")
    answer = predict("images=large", "masks=tiles", "tile_px=64", "tile_overlap=0", "draw=drawn", "output=tiles.csv")
    assert answer.status == 0 and "1 could not be read" in answer.err, answer.err
    found = np.asarray(Image.open(tmp_path / "tiles" / "all.png"))
    for n in range(4):
        alone = np.asarray(Image.open(tmp_path / "masks" / f"{n}.png"))
        part = found[64 * (n // 2) :, 64 * (n % 2) :][:64, :64]
        assert (part == alone).mean() > 0.999 and len(np.unique(part)) > 1
    (row, _) = read_csv_file(tmp_path / "tiles.csv")
    assert float(row["share:background"]) == pytest.approx((found == 0).mean(), abs=1e-6)
    answer = predict("images=images", "masks=small", "tile_px=64", "output=small.csv")  # one tile each
    again = [(tmp_path / where / "2.png").read_bytes() for where in ("masks", "small")]
    assert again[0] == again[1] and folder.is_dir()
