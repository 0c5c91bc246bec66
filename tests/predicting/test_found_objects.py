"""src.predict for models that find objects: rows of boxes, COCO json, drawn images, thresholds, odd images."""

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Answer, Run
from PIL import Image
from support.scenes import scene, write_scenes

CORNERS = ("x1", "y1", "x2", "y2")


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def boxes_of(rows: list[dict[str, str]], name: str) -> list[tuple[float, ...]]:
    return [tuple(float(row[c]) for c in CORNERS) for row in rows if row["path"].endswith(name) and row["x1"]]


@pytest.fixture
def predict(scenes_run: Run, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """In an empty folder; low scores count, since the network was hardly trained."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, threshold: str = "score_threshold=0.05") -> Answer:
        ckpt = f"ckpt={scenes_run.directory}"
        return command("predict", ckpt, "accelerator=cpu", "num_workers=0", threshold, *arguments)

    return call


def test_other_endings_are_refused(predict: Any, tmp_path: Path) -> None:
    write_scenes(tmp_path / "images", 1)
    answer: Answer = predict("images=images", "output=p.xlsx")
    assert answer.status == 1 and "output='p.xlsx' is written as a csv file" in answer.err
    assert not (tmp_path / "p.xlsx").exists()


def test_a_row_for_each_box_of_the_upright_image(predict: Any, tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "images", 3)
    (folder / "broken.png").write_bytes(b"no image")
    Image.new("RGB", (90, 40)).save(folder / "nothing.png")
    turned, exif = scene(1).rotate(90, expand=True), Image.Exif()
    exif[0x0112] = 6  # to be turned back for looking at it
    turned.save(folder / "turned.png", exif=exif)
    scene(0).resize((640, 640), Image.Resampling.NEAREST).save(folder / "zoomed.png")
    answer: Answer = predict("images=images", "batch_size=4")
    assert answer.status == 0 and "7 images" in answer.err and "1 could not be read" in answer.err, answer.err
    rows = rows_of(tmp_path / "predictions.csv")
    assert list(rows[0]) == ["path", *CORNERS, "prediction", "score", "error"]
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    first, second, zoomed = (boxes_of(rows, name) for name in ("0.png", "1.png", "zoomed.png"))
    assert len(first) > 1 and boxes_of(rows, "turned.png") == second  # lossless, so to the last digit
    assert np.allclose(np.array(first[0]) * 10, zoomed[0], atol=25)
    scores = [float(row["score"]) for row in rows if row["path"] == "images/0.png"]
    assert scores == sorted(scores, reverse=True) and min(scores) >= 0.05
    (broken,) = (row for row in rows if "broken" in row["path"])
    assert broken["error"] == "cannot identify image file" and broken["x1"] == broken["prediction"] == ""
    predict("images=images/nothing.png", threshold="score_threshold=1.0")
    (nothing,) = rows_of(tmp_path / "predictions.csv")
    assert set(nothing.values()) == {"images/nothing.png", ""}


def test_thresholds(predict: Any, tmp_path: Path) -> None:
    write_scenes(tmp_path / "images", 3)
    predict("images=images", threshold="score_threshold=0.0")
    every = [float(row["score"]) for row in rows_of(tmp_path / "predictions.csv")]
    distinct = sorted(set(every))
    below, middle = distinct[len(distinct) // 2 - 1 :][:2]  # rounded to six digits
    predict("images=images", threshold=f"score_threshold={(below + middle) / 2:.8f}")
    kept = [float(row["score"]) for row in rows_of(tmp_path / "predictions.csv") if row["score"]]
    assert kept == [score for score in every if score >= middle] and len(kept) < len(every)
    assert "score_threshold=1.5 is out of range" in predict("images=images", threshold="score_threshold=1.5").err


def test_coco_results(predict: Any, command: Any, scenes_run: Run, tmp_path: Path) -> None:
    """They have the boxes of the csv file, and are data: a model is right on what it said itself."""
    folder = write_scenes(tmp_path / "images", 3)
    (folder / "broken.png").write_bytes(b"no image")
    Image.new("RGB", (90, 90)).save(folder / "nothing.png")
    predict("images=images")
    for _ in range(2):  # over its own earlier output
        answer: Answer = predict("images=images", "output=coco.json")
        assert answer.status == 0, answer.err
    content = json.loads((tmp_path / "coco.json").read_text())
    assert [one["name"] for one in content["categories"]] == list("0123456789")
    assert content["errors"] == [{"path": "images/broken.png", "error": "cannot identify image file"}]
    sizes = {one["file_name"]: (one["width"], one["height"]) for one in content["images"]}
    assert len(sizes) == 4 and sizes["images/nothing.png"] == (90, 90)
    names = {one["id"]: one["name"] for one in content["categories"]}
    files = {one["id"]: one["file_name"] for one in content["images"]}
    found = [(files[one["image_id"]], names[one["category_id"]], one["score"]) for one in content["annotations"]]
    rows = [row for row in rows_of(tmp_path / "predictions.csv") if row["score"]]
    assert found == [(row["path"], row["prediction"], float(row["score"])) for row in rows]
    corners = [(x, y, x + width, y + height) for x, y, width, height in (one["bbox"] for one in content["annotations"])]
    assert np.allclose(corners, [[float(row[c]) for c in CORNERS] for row in rows], atol=0.03)
    ckpt, data = f"ckpt={scenes_run.directory}", ("data=coco", "data.root=.", "data.file=coco.json")
    answer = command("evaluate", ckpt, *data, "accelerator=cpu", "output=m.json", "data.num_workers=0")
    assert answer.status == 0 and json.loads((tmp_path / "m.json").read_text())["all/ap50"] > 0.9, answer.err


def test_pycocotools_way_of_loading(predict: Any, tmp_path: Path) -> None:
    COCO = pytest.importorskip("faster_coco_eval").COCO
    write_scenes(tmp_path / "images", 2)
    predict("images=images", "output=coco.json")
    content = json.loads((tmp_path / "coco.json").read_text())
    loaded = COCO(str(tmp_path / "coco.json")).loadRes(content["annotations"])
    assert len(loaded.anns) == len(content["annotations"]) > 3


def test_drawn_images(predict: Any, tmp_path: Path) -> None:
    """One for each readable image, by number and name, over earlier ones and over nobody else's."""
    folder = write_scenes(tmp_path / "images", 2)
    (folder / "twice").mkdir()
    scene(0).save(folder / "twice" / "0.png")
    (folder / "broken.png").write_bytes(b"no image")
    for _ in range(2):
        answer: Answer = predict("images=images", "draw=drawn")
        assert answer.status == 0, answer.err
    names = ["00001_0.jpg", "00002_1.jpg", "00004_0.jpg"]  # 3 is broken
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == names
    with Image.open(tmp_path / "drawn" / names[0]) as drawn:
        plain = scene(0).resize(drawn.size, Image.Resampling.NEAREST)
        assert drawn.size == (384, 384)  # enlarged, for the letters
        assert (np.abs(np.asarray(drawn, dtype=int) - np.asarray(plain)).max(axis=2) > 100).mean() > 0.01
    plain.save(tmp_path / "drawn" / names[1])  # somebody's own
    answer = predict("images=images", "draw=drawn")
    assert answer.status == 1 and "draw: 'drawn/00002_1.jpg' is there already" in answer.err
    assert "is in the folder of the images" in predict("images=images", "draw=images/drawn").err


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("score_threshold=0.5", "score_threshold=0.5 is for models that find objects"),
        ("tile_px=64", "tile_px=64 is for models that find objects, or say a class for each pixel"),
        ("draw={tmp}/drawn", "/drawn is for models that find objects, or say a class for each pixel"),
        ("masks={tmp}/masks", "/masks is for models that answer with masks"),
        ("output={tmp}/p.json", "/p.json is for models that find objects"),
    ],
)
def test_what_other_models_cannot(
    colors_run: Run, colors: Path, command: Any, tmp_path: Path, argument: str, text: str
) -> None:
    output = [] if argument.startswith("output") else [f"output={tmp_path}/p.csv"]
    typed = [argument.format(tmp=tmp_path), *output]
    answer: Answer = command("predict", f"ckpt={colors_run.directory}", f"images={colors}", "accelerator=cpu", *typed)
    assert answer.status == 1 and text in answer.err and not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", ["sweep/0", "sweep/0/checkpoints", "sweep/0/checkpoints/best.ckpt", "sweep"])
def test_of_a_run_it_is_told_before_a_checkpoint_is_opened(
    colors_run: Run, colors: Path, command: Any, tmp_path: Path, given: str
) -> None:
    """Which imports torch."""
    run = tmp_path / "sweep" / "0"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_bytes((colors_run.directory / "config.yaml").read_bytes())
    (run / "job.json").write_text('{"number": 0, "ended": true}')
    zipfile.ZipFile(run / "checkpoints" / "best.ckpt", "w").close()  # and none that can be opened
    typed = [f"images={colors}", f"output={tmp_path}/p.csv", f"draw={tmp_path}/drawn", "accelerator=cpu"]
    answer: Answer = command("predict", f"ckpt={tmp_path / given}", *typed)
    assert answer.status == 1 and "/drawn is for models that find objects" in answer.err


def test_a_checkpoint_alone_is_asked_itself(colors_run: Run, colors: Path, command: Any, tmp_path: Path) -> None:
    """The settings beside it are of something else."""
    (tmp_path / "one.ckpt").write_bytes((colors_run.directory / "checkpoints" / "best.ckpt").read_bytes())
    (tmp_path / "config.yaml").write_text("task: {name: detection}")
    typed = [f"images={colors}", f"output={tmp_path}/p.csv", f"draw={tmp_path}/drawn", "accelerator=cpu"]
    answer: Answer = command("predict", f"ckpt={tmp_path}/one.ckpt", *typed)
    assert answer.status == 1 and "/drawn is for models that find objects" in answer.err


def test_what_models_that_find_objects_cannot(predict: Any, command: Any, scenes_run: Run, tmp_path: Path) -> None:
    write_scenes(tmp_path / "images", 1)
    assert "embeddings=true: this model makes no single vector" in predict("images=images", "embeddings=true").err
    assert "abstain_below=0.5 compares the confidence" in predict("images=images", "abstain_below=0.5").err
    answer: Answer = command("explain", f"ckpt={scenes_run.directory}", "images=images", "accelerator=cpu")
    assert answer.status == 1 and "There are no heat maps of models that find objects" in answer.err


def test_an_overlap_of_no_tiles_is_told(predict: Any, tmp_path: Path) -> None:
    write_scenes(tmp_path / "images", 1)
    assert "tile_overlap has no effect: tile_px=<number>" in predict("images=images", "tile_overlap=0.5").err
    assert "has no effect" not in predict("images=images", "tile_overlap=0.5", "tile_px=64").err
