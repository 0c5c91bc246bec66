"""What is reported, drawn, evaluated and compared of a class per pixel."""

import json
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Answer, Run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.build.trained_model import TrainedModel
from src.evaluation.pixels.confusion import PixelSums, image_metrics, pixel_intervals
from src.evaluation.pixels.pairs import confusion_of_images, sums_of_images
from src.files.csv_files import read_csv_file, write_csv_file
from src.tasks.segmentation.answers import pairs_of
from src.tasks.segmentation.metrics import PixelMetrics
from src.training.processes import gathered_arrays


@pytest.fixture(scope="module")
def page(pixels_run: Run) -> str:
    return (pixels_run.directory / "report" / "index.html").read_text()


def test_tables_add_up_to_the_metrics(pixels_run: Run) -> None:
    classes, images = (pixels_run.csv(f"report/test_{name}.csv") for name in ("classes", "images"))
    there = [row for row in classes if row["pixels"] != "0"]
    assert np.mean([float(row["iou"]) for row in there]) == pytest.approx(pixels_run.metrics["test/miou"], abs=1e-4)
    assert all(row["iou"] == row["recall"] == "" for row in classes if row not in there)
    assert all((row["precision"] == "") == (row["found"] == "0") for row in there)
    pixels, wrong = (np.array([int(row[name]) for row in images]) for name in ("pixels", "wrong"))
    assert pixels.sum() == sum(int(row["pixels"]) for row in classes) == sum(int(row["found"]) for row in classes)
    assert 1 - wrong.sum() / pixels.sum() == pytest.approx(pixels_run.metrics["test/acc"], abs=1e-5)
    assert np.allclose([float(row["acc"]) for row in images], 1 - wrong / pixels, atol=1e-5)
    (predicted, *_) = pixels_run.csv("report/test_predictions.csv")
    shares = [float(text) for name, text in predicted.items() if name.startswith("share:")]
    assert sum(shares) == pytest.approx(1, abs=1e-4) and 0 < float(predicted["confidence"]) < 1


def test_the_page_says_which_classes_no_image_shows(pixels_run: Run, page: str) -> None:
    classes = pixels_run.csv("report/test_classes.csv")
    absent = [row["class"] for row in classes if row["pixels"] == "0"]
    assert f"No image of test shows {', '.join(absent)}: nothing is known" in page
    intervals = json.loads((pixels_run.directory / "report" / "intervals.json").read_text())
    low, high = intervals["test/iou/background"]
    (iou,) = (float(row["iou"]) for row in classes if row["class"] == "background")
    assert low < iou < high and not any(f"test/iou/{name}" in intervals for name in absent)
    assert f"{low:.4f}..{high:.4f}" in page and "percent of the pixels of the row" in page
    (row,) = re.findall(r'<th class="text" title="background">background</th>(.*?)</tr>', page)
    (recall,) = (float(row["recall"]) for row in classes if row["class"] == "background")
    assert re.findall(r">([^<]+)</td>", row)[0] == f"{100 * recall:.0f}"
    assert "random pixels of each image" in page  # calibration
    commands = re.search(r"<pre>(python -m src\.evaluate.*?)</pre>", page, re.DOTALL)
    assert commands is not None and "src.predict" in commands[1] and "src.explain" not in commands[1]


def test_worst_images_come_first(pixels_run: Run, page: str) -> None:
    images = pixels_run.csv("report/test_images.csv")
    shown = [float(text) for text in re.findall(r"<b>mIoU ([\d.]+), [\d.]+% of the pixels wrong</b>", page)]
    assert np.allclose(shown, sorted(float(row["miou"]) for row in images)[:12], atol=1e-3)
    assert page.count('alt="Image, truth, answer, mistakes') == len(shown) == len(images) == 8


def test_tensorboard_has_masks_of_training_and_validation(pixels_run: Run) -> None:
    read = EventAccumulator(str(pixels_run.directory / "tensorboard"), size_guidance={"images": 0})
    read.Reload()
    steps = {tag: [image.step for image in read.Images(tag)] for tag in read.Tags()["images"]}
    assert len(steps["train/images"]) == 1 and len(steps["val/masks"]) == len(steps["val/confusion"]) == 2
    assert {"test/masks", "test/confusion", "report/worst_images", "report/reliability"} <= set(steps)


def test_looking_at_an_image_leaves_the_training_as_it_was(pixels_run: Run) -> None:
    """Figures are drawn between epochs."""
    task: Any = TrainedModel.open(str(pixels_run.directory)).task
    image = torch.randint(0, 256, (3, 72, 72), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    seen = task.look_at(image)
    task.train()
    before, random = [module.training for module in task.modules()], torch.get_rng_state()
    assert torch.equal(task.look_at(image), seen) and seen.shape[0] == 11
    assert any(before) and [module.training for module in task.modules()] == before
    assert torch.equal(torch.get_rng_state(), random)


def test_evaluate_gives_the_same_metrics_and_page(pixels_run: Run, command: Any, tmp_path: Path) -> None:
    report, ckpt = tmp_path / "report", f"ckpt={pixels_run.directory}"
    answer: Answer = command("evaluate", ckpt, f"report={report}", f"output={tmp_path}/m.json", "accelerator=cpu")
    assert answer.status == 0, answer.err
    found = json.loads((tmp_path / "m.json").read_text())
    for name in ("test/miou", "test/acc", "test/dice", "test/ece", "test/loss"):
        assert found[name] == pytest.approx(pixels_run.metrics[name], abs=1e-5)
    assert "Worst images" in (report / "index.html").read_text()
    other = command("evaluate", ckpt, "split=val", "accelerator=cpu")
    assert re.search(rf"val/miou +{pixels_run.metrics['val/miou']:.4f}", other.out), other.out


def test_runs_are_compared_by_images(pixels_run: Run, command: Any, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(pixels_run.directory, other)
    file = other / "report" / "test_images.csv"
    rows = read_csv_file(file)
    rows[0]["miou"], rows[0]["acc"] = "1", "1"
    write_csv_file(file, list(rows[0]), rows)
    answer: Answer = command("compare", f"runs=[{pixels_run.directory},{other}]", f"output={tmp_path}/c.html")
    assert answer.status == 0 and "measured as 1 - the IoU of an image's own pixels" in answer.out, answer.err
    page = unescape((tmp_path / "c.html").read_text())
    assert "Better now: 1" in page and "now: mIoU 1.000, 100.0% of the pixels right" in page
    rows[0]["miou"] = "1.5"
    write_csv_file(file, list(rows[0]), rows)
    answer = command("compare", f"runs=[{pixels_run.directory},{other}]", f"output={tmp_path}/d.html")
    assert answer.status == 1 and "test_images.csv" in answer.err and "row 1" in answer.err


def test_explain_says_where_to_look_instead(pixels_run: Run, colors: Path, command: Any, tmp_path: Path) -> None:
    output = tmp_path / "maps"
    answer: Answer = command("explain", f"ckpt={pixels_run.directory}", f"images={colors}", f"output={output}")
    assert answer.status == 1 and "where a class is, their masks say themselves" in answer.err
    assert not output.exists()


def test_metrics_of_single_images() -> None:
    """One with classes 0 and 1, of which 3 of 4 and 1 of 2 pixels are right; one that is void; one with class 2."""
    confusions_NKK = np.zeros((3, 4, 4), dtype=np.int32)
    confusions_NKK[0, 0, :2], confusions_NKK[0, 1, :2] = (3, 1), (1, 1)
    confusions_NKK[2, 2, 2:] = (5, 5)  # half of it is taken for a class that the image does not show
    miou_N, acc_N = image_metrics(PixelSums.of(confusions_NKK))
    assert miou_N[0] == pytest.approx((3 / 5 + 1 / 3) / 2) and acc_N[0] == pytest.approx(4 / 6)
    assert np.isnan(miou_N[1]) and np.isnan(acc_N[1]) and miou_N[2] == acc_N[2] == 0.5


def test_intervals_of_classes() -> None:
    """As wide as images differ; none of a class that no image shows, nor where all images are alike."""
    confusions_NKK = np.zeros((40, 3, 3), dtype=np.int32)
    confusions_NKK[:, 0, 0] = 10
    confusions_NKK[:20, 1, 1] = 10
    confusions_NKK[20:, 1, 0] = 10
    found = pixel_intervals(PixelSums.of(confusions_NKK), ["a", "b", "c"], None)
    assert set(found) == {"miou", "acc", "dice", "iou/a", "iou/b"}
    low, high = found["iou/b"]  # a share of 0.5, of 40 images
    assert 0.32 < low < 0.38 and 0.62 < high < 0.68
    groups_N = np.arange(40) // 20
    assert pixel_intervals(PixelSums.of(confusions_NKK), ["a", "b", "c"], groups_N)["iou/b"] == (0.0, 1.0)


def test_pairs_that_occur_say_what_whole_confusions_do() -> None:
    """Of images with few and with many pairs, in batches of their own length, one of them all void."""
    random, classes = np.random.default_rng(0), 30
    confusions_NKK = random.integers(1, 10**6, (8, classes, classes)) * (random.random((8, classes, classes)) < 0.1)
    confusions_NKK[3], confusions_NKK[4:, :, 5:], confusions_NKK[:, 7] = 0, 0, 0
    pairs = [pairs_of(torch.from_numpy(one)) for one in confusions_NKK]
    batches = [torch.nn.utils.rnn.pad_sequence(pairs[n : n + 2], batch_first=True) for n in (0, 2, 4, 6)]
    assert len({batch.shape[1] for batch in batches}) > 1
    pairs_NM2 = gathered_arrays([{"pairs": batch.numpy()} for batch in batches])["pairs"]
    sums, expected = sums_of_images(pairs_NM2, classes), PixelSums.of(confusions_NKK)
    for name in ("right", "true", "found"):
        assert np.array_equal(getattr(sums, name), getattr(expected, name)), name
    assert np.array_equal(confusion_of_images(pairs_NM2, classes), confusions_NKK.sum(axis=0))
    names = [f"{k}" for k in range(classes)]
    assert pixel_intervals(sums, names, None) == pixel_intervals(expected, names, None)
    metric = PixelMetrics(classes)
    for batch in batches:
        metric.update(batch)
    assert np.array_equal(metric.confusion.numpy(), confusions_NKK.sum(axis=0))
