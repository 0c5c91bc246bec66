"""data.resize_mode: crop, fit and stretch, from the pixels to the answers of a trained model."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Answer, run_train
from PIL import Image

from src.data.transforms import evaluation_transform, shrunk_to, training_transform
from src.models.preprocessing import Preprocessing
from src.serving.pixels import read_pixels
from src.settings.nodes import Augmentation

MEAN, STD = (0.4, 0.2, 0.6), (0.2, 0.2, 0.2)


def preprocessing(mode: str, side: int = 32) -> Preprocessing:
    return Preprocessing(36, side, "bilinear", MEAN, STD, mode)


def halves(width: int, height: int) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), (255, 0, 0))
    image.paste((0, 0, 255), (width // 2, 0, width, height))
    return image


def test_fit_keeps_the_whole_image_and_its_shape() -> None:
    pixels_CHW = evaluation_transform(preprocessing("fit"))(halves(80, 40))
    assert pixels_CHW.shape == (3, 32, 32)
    for row in (0, 7, 24, 31):  # the mean colour, which the network sees as 0
        assert pixels_CHW[:, row].unique(dim=1).flatten().tolist() == [102, 51, 153]
    assert pixels_CHW[:, 8:24, 0].unique(dim=1).flatten().tolist() == [255, 0, 0]
    assert pixels_CHW[:, 8:24, 31].unique(dim=1).flatten().tolist() == [0, 0, 255]


def test_stretch_keeps_the_whole_image_and_not_its_shape() -> None:
    pixels_CHW = evaluation_transform(preprocessing("stretch"))(halves(80, 40))
    assert pixels_CHW[:, :, :15].flatten(1).unique(dim=1).flatten().tolist() == [255, 0, 0]
    assert pixels_CHW[:, :, 17:].flatten(1).unique(dim=1).flatten().tolist() == [0, 0, 255]


@pytest.mark.parametrize("mode", ["fit", "stretch"])
@pytest.mark.parametrize("size", [(1, 900), (900, 1), (32, 32), (7, 5), (331, 997)])
def test_every_shape_is_scaled_and_training_without_augmentation_is_evaluation(
    mode: str, size: tuple[int, int]
) -> None:
    image = halves(*size)
    pixels_CHW = evaluation_transform(preprocessing(mode))(image)
    assert pixels_CHW.shape == (3, 32, 32) and pixels_CHW.dtype == torch.uint8
    assert torch.equal(training_transform(preprocessing(mode), Augmentation())(image), pixels_CHW)


@pytest.mark.parametrize("mode", ["fit", "stretch"])
@pytest.mark.parametrize("size", [(90, 900), (900, 90), (32, 32), (7, 5), (331, 997)])
def test_the_service_sees_the_pixels_of_the_evaluation(mode: str, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "png")
    expected = evaluation_transform(preprocessing(mode))(Image.fromarray(noise)).numpy()
    np.testing.assert_array_equal(read_pixels(buffer, preprocessing(mode), 32, 50)[0], expected)


def test_it_is_kept_where_it_is_not_the_usual_one() -> None:
    assert "resize_mode" not in preprocessing("crop").as_dict()
    for mode in ("crop", "fit", "stretch"):
        assert Preprocessing.from_dict(preprocessing(mode).as_dict()) == preprocessing(mode)
    assert preprocessing("fit").with_size(64, None) == Preprocessing(64, 64, "bilinear", MEAN, STD, "fit")
    assert preprocessing("crop").with_size(None, None, "stretch").resize_mode == "stretch"


def test_images_for_the_cache_are_shrunk_and_never_enlarged() -> None:
    assert shrunk_to(20, (40, 80)) == [20, 40] and shrunk_to(40, (40, 80)) == [40, 80]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fit", "stretch"])
def test_from_training_to_answers(mode: str, colors: Path, tmp_path: Path, command: Callable[..., Answer]) -> None:
    run = run_train(
        tmp_path / "run", "data=folder", f"data.root={colors}", "data.image_size_px=32", "data.batch_size=16",
        f"data.resize_mode={mode}", "data.resize_px=40", "augment=light", "optimizer.lr=1e-3", "data.cache=images",
        f"data.cache_dir={tmp_path}/cache",
    )  # fmt: skip
    assert run.checkpoint()["finetune"]["preprocessing"]["resize_mode"] == mode and run.metrics["test/acc"] > 0.5
    again = command("evaluate", f"ckpt={run.directory}", "accelerator=cpu")
    assert again.status == 0 and f"{run.metrics['test/acc']:.4f}" in again.out, again.err
    other = command("evaluate", f"ckpt={run.directory}", f"data.root={colors}", "split=all", "accelerator=cpu")
    assert other.status == 0, other.err
    answer = command(
        "predict", f"ckpt={run.directory}", f"images={colors}", f"output={tmp_path}/found.csv", "accelerator=cpu"
    )
    assert answer.status == 0 and len((tmp_path / "found.csv").read_text().splitlines()) == 61
    exported = command("export", f"ckpt={run.directory}", f"output={tmp_path}/model.onnx")
    assert exported.status == 0 and "answers as the checkpoint's" in exported.err, exported.err
    facts = json.loads((tmp_path / "model.json").read_text())
    assert facts["preprocessing"]["resize_mode"] == mode


def test_other_words_are_refused(command: Callable[..., Answer], colors: Path) -> None:
    answer = command("train", "data=folder", f"data.root={colors}", "data.resize_mode=squash")
    assert answer.status == 1 and "data.resize_mode='squash' is not allowed" in answer.err
