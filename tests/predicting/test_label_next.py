"""src.label_next: which images it chooses, what it writes, and what it refuses."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Answer, Run
from PIL import Image


@pytest.fixture
def choose(command: Callable[..., Answer], tmp_path: Path) -> Callable[..., Answer]:
    def call(run: Run, *settings: object) -> Answer:
        typed = [f"ckpt={run.directory}", f"output={tmp_path}/n.csv", "accelerator=cpu", "num_workers=0"]
        return command("label_next", *typed, *map(str, settings))

    return call


def test_the_least_sure_are_chosen(
    choose: Callable[..., Answer], colors_run: Run, colors: Path, tmp_path: Path
) -> None:
    """Of the images and mixtures of two of them, mixtures; unreadable files are counted."""
    images = tmp_path / "images"
    images.mkdir()
    files = [file for folder in sorted(colors.iterdir()) for file in sorted(folder.iterdir())[:6]]
    shown = [Image.open(file).convert("RGB") for file in files]
    for n, image in enumerate(shown):
        image.save(images / f"pure{n}.png")
        Image.blend(image, shown[(n + 7) % len(shown)], 0.5).save(images / f"mixed{n}.png")
    (images / "broken.png").write_bytes(b"no image")
    answer = choose(colors_run, f"images={images}", "count=4", "batch_size=5")
    assert answer.status == 0 and "4 of 37 images to label next, 1 could not be read" in answer.err, answer.err
    with (tmp_path / "n.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    doubts = [float(row["doubt"]) for row in rows]
    assert doubts == sorted(doubts, reverse=True) and len({row["path"] for row in rows}) == 4
    assert all(row["label"] == "" and row["prediction"] in ("red", "green", "blue") for row in rows)
    assert sum("mixed" in row["path"] for row in rows) >= 3
    assert (tmp_path / "n.html").read_text().count("data:image/") == 4
    assert choose(colors_run, f"images={images}/mixed0.png", "count=4").status == 0  # over its own earlier output
    assert len((tmp_path / "n.csv").read_text().splitlines()) == 2


def test_models_that_find_objects_are_refused(choose: Callable[..., Answer], scenes_run: Run, colors: Path) -> None:
    answer = choose(scenes_run, f"images={colors}/red")
    assert answer.status == 1 and "does not choose one class per image" in answer.err
