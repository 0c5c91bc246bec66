"""src.serve for models that say a class for each pixel: masks in pixels of the upload."""

import base64
import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Answer, Run
from PIL import Image
from support.scenes import scene, write_scenes
from support.serving import Server, servers, write_onnx, write_pixels_onnx

from src.data.decode import UnreadableImage
from src.files.csv_files import read_csv_file
from src.models.preprocessing import Preprocessing
from src.serving.models import load_model
from src.serving.pixels import DecodingBudget, read_pixels
from src.settings.errors import ConfigError


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with servers() as start:
        file = write_pixels_onnx(tmp_path_factory.mktemp("pixels") / "model.onnx")
        # No more than one of the images of a request is decoded before the one before it has its answer.
        yield start(f"model={file}", "batch_wait_ms=50", "max_megapixels=0.15", "decode_megapixels=0.15")


def decoded(mask: str) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(mask)))
    image.load()
    return image


def colored(size: tuple[int, int]) -> Image.Image:
    """Red above, blue below, with one green pixel in the upper left corner."""
    image = Image.new("RGB", size, (0, 0, 204))
    image.paste((204, 0, 0), (0, 0, size[0], size[1] // 2))
    image.putpixel((0, 0), (0, 204, 0))
    return image


def as_file(image: Image.Image, format: str = "PNG", **more: Any) -> bytes:
    image.save(stream := io.BytesIO(), format, **more)
    return stream.getvalue()


def test_masks_are_in_pixels_of_the_upload(server: Server) -> None:
    """Of images of several sizes, one turned by its EXIF tag, and a JPEG that is decoded reduced."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = as_file(colored((50, 40)).transpose(Image.Transpose.ROTATE_90), exif=exif)
    large = as_file(colored((400, 300)), "JPEG", quality=95)
    reply = server.predict(("t.png", turned), ("l.jpg", large), ("no.png", b"text"))
    first, second, bad = reply.json["results"]
    mask = decoded(first.pop("mask"))
    assert mask.mode == "P" and mask.size == (50, 40) and mask.getpalette()[3:6] == [128, 0, 0]
    wanted_HW = np.repeat(np.uint8([0, 2]), 20)[:, None] * np.ones(50, np.uint8)
    wanted_HW[0, 0] = 1
    assert np.array_equal(np.asarray(mask), wanted_HW)
    shares = {"blue": 0.5, "red": 0.4995, "green": 0.0005}
    assert first == {"name": "t.png", "width": 50, "height": 40, "shares": shares, "confidence": 0.8}
    assert list(first["shares"]) == list(shares)  # the largest first
    mask_HW = np.asarray(decoded(second["mask"]))
    assert mask_HW.shape == (300, 400) and (mask_HW[4:140, 4:] == 0).all() and (mask_HW[160:] == 2).all()
    assert list(bad) == ["name", "error"]
    assert server.ask("GET", "/model").json["palette"] == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    assert server.predict(("t.png", turned), ("t.png", turned)).status == 200  # what was held was given back


def test_an_image_keeps_its_share_of_the_budget_until_it_is_answered() -> None:
    budget = DecodingBudget(1)
    preprocessing = Preprocessing(32, 48, "bilinear", (0, 0, 0), (1, 1, 1), "fit", keeps_shape=True)
    with ExitStack() as held:
        pixels, size_wh = read_pixels(io.BytesIO(as_file(colored((50, 40)))), preprocessing, 32, 1, budget, True, held)
        assert pixels.shape == (3, 40, 50) and size_wh == (50, 40) and budget.taken == 2000
    assert budget.taken == 0
    with ExitStack() as held, pytest.raises(UnreadableImage):
        read_pixels(io.BytesIO(as_file(colored((50, 40)))[:90]), preprocessing, 32, 1, budget, True, held)
    assert budget.taken == 0


def test_a_checkpoint_answers_as_predict_does(
    pixels_run: Run, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of several shapes in one batch; only the largest shares with top_k."""
    monkeypatch.chdir(tmp_path)
    folder = write_scenes(tmp_path / "images", 2)
    scene(3).resize((200, 90)).save(folder / "wide.png")
    typed = ("images=images", "masks=masks", "accelerator=cpu", "num_workers=0")
    answer: Answer = command("predict", f"ckpt={pixels_run.directory}", *typed)
    assert answer.status == 0, answer.err
    rows, model = read_csv_file(tmp_path / "predictions.csv"), load_model(str(pixels_run.directory), None, "cpu")
    assert not model.takes_whole
    paths = sorted(folder.iterdir())
    images = [read_pixels(path.open("rb"), model.facts.preprocessing, model.size_px, 50) for path in paths]
    outputs = model.compute(*zip(*images, strict=True))
    for path, found, row in zip(paths, model.answers(outputs), rows, strict=True):
        with Image.open(tmp_path / "masks" / f"{path.stem}.png") as wanted:
            assert (np.asarray(decoded(found["mask"])) == np.asarray(wanted)).mean() >= 0.999
        assert found["confidence"] == pytest.approx(float(row["confidence"]), abs=1e-4)
        for name, share in found["shares"].items():
            assert share == pytest.approx(float(row[f"share:{name}"]), abs=1e-3)
    assert [len(one["shares"]) for one in model.answers(outputs, top_k=1)] == [1, 1, 1]


def test_a_file_with_other_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lacks the input images or the outputs mask, confidence"):
        load_model(None, str(write_onnx(tmp_path / "a.onnx", task="segmentation")), "cpu")
    with pytest.raises(ConfigError, match=r"score_threshold=0\.5 is for models that find objects"):
        load_model(None, str(write_pixels_onnx(tmp_path / "b.onnx")), "cpu", score_threshold=0.5)
