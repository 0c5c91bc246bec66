"""src.serve for models that find objects: images of any shape, boxes in pixels of the upload."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Answer, Run
from faster_coco_eval.core import mask as coco_mask
from PIL import Image
from support.scenes import scene, write_scenes
from support.serving import Server, encoded, servers, write_boxes_onnx, write_onnx

from src.data.decode import read_rgb
from src.data.transforms import evaluation_transform
from src.models.preprocessing import Preprocessing
from src.serving.models import load_model
from src.serving.pixels import read_pixels
from src.settings.errors import ConfigError

SIZES = ((50, 40), (41, 67), (33, 34), (20, 20), (99, 31), (300, 401), (900, 7), (1, 300))


@pytest.mark.parametrize("mode", ["fit", "stretch"])
@pytest.mark.parametrize(("shorter_px", "longer_px"), [(32, 48), (48, 48), (31, 53)])
def test_pixels_are_those_of_the_evaluation(mode: str, shorter_px: int, longer_px: int) -> None:
    """And stay what they are if the model scales them once more."""
    preprocessing = Preprocessing(shorter_px, longer_px, "bilinear", (0, 0, 0), (1, 1, 1), mode, keeps_shape=True)
    transform, rng = evaluation_transform(preprocessing), np.random.default_rng(0)
    for size in SIZES:
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(buffer, "JPEG")
        wanted = transform(read_rgb(io.BytesIO(buffer.getvalue()), shorter_px)).numpy()
        found, size_wh = read_pixels(buffer, preprocessing, shorter_px, 50)
        assert np.array_equal(found, wanted) and size_wh == size
        assert np.array_equal(transform(Image.fromarray(found.transpose(1, 2, 0))).numpy(), found)


def test_a_checkpoint_answers_as_predict_does(scenes_run: Run, command: Any, tmp_path: Path) -> None:
    """Images of several shapes in one batch, one of them turned by its EXIF tag; only the surest boxes with top_k."""
    folder, exif = write_scenes(tmp_path / "images", 2), Image.Exif()
    exif[0x0112] = 6
    scene(7, 96).crop((0, 0, 96, 50)).save(folder / "turned.png", exif=exif)
    scene(3).resize((200, 200)).save(folder / "zoomed.png")
    ckpt, output = f"ckpt={scenes_run.directory}", tmp_path / "p.csv"
    typed = (f"images={folder}", f"output={output}", "accelerator=cpu", "score_threshold=0.05")
    answer: Answer = command("predict", ckpt, *typed)
    assert answer.status == 0, answer.err
    with output.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["x1"]]
    model = load_model(str(scenes_run.directory), None, "cpu", score_threshold=0.05)
    paths = sorted(folder.iterdir())
    images = [read_pixels(path.open("rb"), model.facts.preprocessing, model.size_px, 50) for path in paths]
    assert images[2][1] == (50, 96) and len({pixels.shape for pixels, _ in images}) == 2
    outputs = model.compute(*zip(*images, strict=True))
    for path, found in zip(paths, model.answers(outputs), strict=True):
        wanted = [row for row in rows if row["path"] == str(path)]
        assert [box["prediction"] for box in found["boxes"]] == [row["prediction"] for row in wanted]
        for box, row in zip(found["boxes"], wanted, strict=True):
            assert box["score"] == pytest.approx(float(row["score"]), abs=1e-4)
            assert box["box_xyxy"] == pytest.approx([float(row[c]) for c in ("x1", "y1", "x2", "y2")], abs=0.05)
    assert len(rows) > 4
    assert model.answers(outputs, top_k=1) == [{"boxes": one["boxes"][:1]} for one in model.answers(outputs)]


@pytest.mark.slow
def test_an_exported_file_answers_as_predict_does(scenes_run: Run, command: Any, tmp_path: Path) -> None:
    """From the real exporter, for images of other sizes than the network's."""
    folder = write_scenes(tmp_path / "images", 3)
    scene(5).resize((301, 200)).save(folder / "wide.png")
    ckpt, output, file = f"ckpt={scenes_run.directory}", tmp_path / "p.csv", tmp_path / "model.onnx"
    for name, *typed in (
        ("predict", f"output={output}", "accelerator=cpu", "score_threshold=0.05"),
        ("export", f"output={file}", "test_images=0"),
    ):
        answer: Answer = command(name, ckpt, f"images={folder}", *typed)
        assert answer.status == 0, answer.err
    with output.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["x1"]]
    model = load_model(None, str(file), "cpu", score_threshold=0.05)
    found = []
    for path in sorted(folder.iterdir()):
        pixels, size_wh = read_pixels(path.open("rb"), model.facts.preprocessing, model.size_px, 50)
        found += model.answers(model.compute([pixels], [size_wh]))[0]["boxes"]
    assert [box["prediction"] for box in found] == [row["prediction"] for row in rows] and len(rows) > 4
    for box, row in zip(found, rows, strict=True):
        assert box["score"] == pytest.approx(float(row["score"]), abs=1e-3)
        assert box["box_xyxy"] == pytest.approx([float(row[c]) for c in ("x1", "y1", "x2", "y2")], abs=0.1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with servers() as start:
        yield start(f"model={write_boxes_onnx(tmp_path_factory.mktemp('found') / 'model.onnx')}", "batch_wait_ms=50")


def test_boxes_are_in_pixels_of_the_upload(server: Server) -> None:
    """Of images of several sizes that come together; the model sees them scaled."""
    exif, turned = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.new("RGB", (600, 200), (0, 200, 0)).save(turned, "PNG", exif=exif)
    black, blue = encoded((0, 0, 0), (30, 30)), encoded((0, 0, 200), (100, 50))
    reply = server.predict(("t.png", turned.getvalue()), ("b.png", blue), ("no.png", b"text"), ("0.png", black))
    first, second, bad, nothing = reply.json["results"]
    box = {"box_xyxy": [0, 0, pytest.approx(100), pytest.approx(300)], "prediction": "green"}
    assert first == {"name": "t.png", "width": 200, "height": 600, "boxes": [box | {"score": pytest.approx(0.9)}]}
    box = {"box_xyxy": [0, 0, pytest.approx(50), pytest.approx(25)], "prediction": "blue"}
    assert second == {"name": "b.png", "width": 100, "height": 50, "boxes": [box | {"score": pytest.approx(0.9)}]}
    assert list(bad) == ["name", "error"] and nothing == {"name": "0.png", "width": 30, "height": 30, "boxes": []}
    facts = server.ask("GET", "/model").json
    assert facts["thresholds"] == [0.5, 0.5, 0.5] and facts["preprocessing"]["keeps_shape"]


def test_a_threshold_of_ones_own(tmp_path: Path) -> None:
    image = np.full((3, 32, 40), 100, np.uint8)
    for threshold, scores in ((0.3, [0.9, 0.4]), (0.95, []), (None, [0.9])):
        model = load_model(None, str(write_boxes_onnx(tmp_path / "m.onnx")), "cpu", score_threshold=threshold)
        (answer,) = model.answers(model.compute([image], [(80, 96)]))
        assert [box["score"] for box in answer["boxes"]] == pytest.approx(scores)
    assert model.facts.thresholds == [0.5] * 3
    assert answer["boxes"][0]["box_xyxy"] == [0, 0, 40, 48]  # of each side by its own scale
    with pytest.raises(ConfigError, match=r"score_threshold=0\.5 is for models that find objects"):
        load_model(None, str(write_onnx(tmp_path / "other.onnx")), "cpu", score_threshold=0.5)


def test_masks_of_an_exported_file_are_in_pixels_of_the_upload(tmp_path: Path) -> None:
    """Of images of several shapes together; a large JPEG is decoded reduced, and a large PNG computed reduced."""
    model, images, wanted = load_model(None, str(write_boxes_onnx(tmp_path / "m.onnx", masks=True)), "cpu"), [], []
    for size, kind in (((60, 40), "PNG"), ((1200, 900), "JPEG"), ((30, 80), "PNG"), ((2000, 1500), "PNG")):
        pixels, stream = np.zeros((size[1], size[0], 3), np.uint8), io.BytesIO()
        pixels[:, : size[0] // 3, 1] = 200
        Image.fromarray(pixels).save(stream, kind)
        images.append(read_pixels(stream, model.facts.preprocessing, model.size_px, 50, whole=model.takes_whole))
        wanted.append(pixels[..., 1] > 0)
    assert images[1][0].shape[1:] != (900, 1200)
    found = model.answers(model.compute(*zip(*images, strict=True)))
    for one, mask_HW in zip(found, wanted, strict=True):
        (answer,) = one["boxes"]
        found_HW = coco_mask.decode(answer["segmentation"]) > 0
        assert found_HW.shape == mask_HW.shape and answer["prediction"] == "green"
        assert answer["area"] == found_HW.sum()
        assert (found_HW != mask_HW).mean() < 0.02
    nothing = model.answers(model.compute([np.zeros((3, 20, 30), np.uint8)], [(30, 20)]))
    assert nothing == [{"boxes": []}]


def test_a_file_with_other_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lacks the input images or the outputs boxes, scores, labels"):
        load_model(None, str(write_onnx(tmp_path / "a.onnx", task="detection")), "cpu")
