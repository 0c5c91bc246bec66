"""export of detectors: one image of any size in, its boxes out, as the checkpoint has them."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import Answer, Run
from PIL import Image
from support.scenes import scene, with_odd_images
from support.slow import mostly_slow

from scripts.export_all import DETECTORS, write_detector
from src.build.trained_model import TrainedModel
from src.data.transforms import evaluation_transform
from src.exporting.graph import trace, write_program
from src.exporting.operations import UncheckedPart, operation
from src.exporting.parity import Reference
from src.exporting.run import load_program, open_exported
from src.models.pillow_resize import PillowResizeWhole
from src.models.preprocessing import Preprocessing
from src.models.whole_networks import detector_names
from src.serving.models import load_model
from src.settings.project import PROJECT_ROOT

SIZES = ((61, 83), (83, 61), (64, 64), (300, 90), (20, 200), (5, 7))  # width and height


def images_of_all_sizes() -> list[Image.Image]:
    return [scene(number, 96).resize(size) for number, size in enumerate(SIZES)] + [Image.new("RGB", (50, 40))]


@pytest.mark.parametrize("mode", ["fit", "stretch"])
@pytest.mark.parametrize(("shorter_px", "longer_px"), [(64, 64), (50, 96), (61, 70)])
def test_whole_images_are_resized_to_the_pixels_of_pillow(mode: str, shorter_px: int, longer_px: int) -> None:
    """And padded to multiples of 32."""
    preprocessing = Preprocessing(shorter_px, longer_px, "bilinear", (0, 0, 0), (1, 1, 1), mode, keeps_shape=True)
    transform, resize = evaluation_transform(preprocessing), PillowResizeWhole(preprocessing, 32)
    for image in [*images_of_all_sizes(), scene(0, 200).resize((1, 300)), scene(0, 200).resize((1000, 70))]:
        pixels_1Chw, inside_hw, size_2 = resize(torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None])
        wanted_CHW = transform(image)
        height, width = size_2.tolist()
        assert (height, width) == wanted_CHW.shape[1:], image.size
        assert torch.equal(pixels_1Chw[0, :, :height, :width], wanted_CHW.float()), image.size
        assert [side % 32 for side in inside_hw.shape] == [0, 0] and inside_hw.sum() == height * width
        assert inside_hw[:height, :width].all() and inside_hw.shape[0] < height + 32


def opened(tmp_path: Path, name: str, *arguments: Any) -> TrainedModel:
    write_detector(name, tmp_path / "model.ckpt", *arguments)
    return TrainedModel.open(str(tmp_path / "model.ckpt"))


def differences(model: TrainedModel, run: Any) -> tuple[float, int]:
    """The largest difference from the checkpoint, and how many boxes there were."""
    reference, largest, boxes = Reference(model.task, model.preprocessing), 0.0, 0
    for image in images_of_all_sizes():
        with torch.no_grad():
            expected, found = reference.outputs([image]), reference.outputs_of(run, [image])
        same, difference = model.task.compare(expected, found)
        largest, boxes = max(largest, difference if same else 1.0), boxes + int((found["labels"] >= 0).sum())
    return largest, boxes


def as_runner(model: Any) -> Any:
    return lambda images_NCHW: [output.detach().numpy() for output in model(torch.from_numpy(images_NCHW))]


# Of random weights of SSD300 many scores are equal, and their order is arbitrary: scripts/export_all.py scatters them.
WHOLE = mostly_slow([*DETECTORS, *(name for name in detector_names() if name != "ssd300_vgg16")], *DETECTORS[1:3])


@pytest.mark.parametrize("name", WHOLE)
def test_the_graph_finds_what_the_checkpoint_finds(tmp_path: Path, name: str) -> None:
    """Before anything is exported."""
    model = opened(tmp_path, name, 96)
    largest, boxes = differences(model, as_runner(model.task.exported()))
    assert largest < 1e-4 and boxes > 100


def test_scores_are_those_of_the_output_layer_and_no_box_is_an_answer_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = opened(tmp_path, "squeezenet1_1/fcos", 64)
    layer = type(model.task.output_layer())(model.task.class_names, None, slope=2.0, shift=-1.0)
    monkeypatch.setattr(model.task, "output_layer", lambda: layer)
    run = as_runner(model.task.exported())
    largest, boxes = differences(model, run)
    assert largest < 1e-4 and boxes > 100
    assert differences(model, as_runner(TrainedModel.open(str(tmp_path / "model.ckpt")).task.exported()))[0] > 0.01
    empty = opened(tmp_path, "squeezenet1_1/fcos", 64, -30.0)
    boxes_M4, scores_M, labels_M = as_runner(empty.task.exported())(np.zeros((1, 3, 40, 50), dtype=np.uint8))
    assert (boxes_M4.shape, scores_M.shape, labels_M.shape) == ((0, 4), (0,), (0,))
    assert (boxes_M4.dtype, scores_M.dtype, labels_M.dtype) == (np.float32, np.float32, np.int64)


SMALL = ("head.strides=[16]", "head.convs=1", "data.scenes=10")


@pytest.mark.slow  # and beyond torch 2.11, whose torch.export finds no way
def test_a_program_finds_what_the_checkpoint_finds_and_loads_without_trust(tmp_path: Path) -> None:
    model = opened(tmp_path, "squeezenet1_1/fcos", 64, -1.0, *SMALL)
    write_program(trace(model.task.exported(), "it"), {}, tmp_path / "model.pt2")
    loaded, _ = load_program(tmp_path / "model.pt2", "it")
    largest, boxes = differences(model, as_runner(loaded))
    assert largest < 1e-4 and boxes > 50


@pytest.mark.slow  # torch.onnx takes most of it
def test_an_onnx_file_answers_as_predict_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any) -> None:
    """Alone, with numpy, Pillow and onnxruntime; images turned by a tag, large, broken, and with nothing on them."""
    write_detector("squeezenet1_1/fcos", tmp_path / "model.ckpt", 64, -2.0, *SMALL)
    monkeypatch.chdir(tmp_path)
    with_odd_images(tmp_path / "images", images_of_all_sizes())
    answer: Answer = command("export", "ckpt=model.ckpt", "images=images", "test_images=0")
    assert answer.status == 0 and "answers as the checkpoint's" in answer.err, answer.err
    session = onnxruntime.InferenceSession("model.onnx")
    facts = json.loads((tmp_path / "model.json").read_text())
    assert facts["task"] == "detection" and facts["outputs"] == ["boxes", "scores", "labels"]
    assert facts["preprocessing"]["keeps_shape"] and len(facts["class_names"]) == 10
    assert [str(size) for size in session.get_inputs()[0].shape] == ["1", "3", "H", "W"]
    shapes = {output.name: (output.type, output.shape) for output in session.get_outputs()}
    assert shapes["boxes"] == ("tensor(float)", ["M", 4]) and shapes["labels"] == ("tensor(int64)", ["M"])
    model = load_model(None, "model.onnx", "cpu")
    assert model.finds_objects and model.facts.preprocessing.keeps_shape
    assert command("predict", "ckpt=model.ckpt", "images=images", "output=a.csv", "accelerator=cpu").status == 0
    script = shutil.copy(PROJECT_ROOT / "scripts" / "predict_onnx.py", tmp_path / "p.py")
    subprocess.run([sys.executable, script, "model.onnx", "images", "b.csv", "drawn"], check=True, cwd=tmp_path)
    expected, found = (list(csv.DictReader((tmp_path / name).open())) for name in ("a.csv", "b.csv"))
    assert [row["path"] for row in found] == [row["path"] for row in expected] and len(found) > 12
    assert list(found[0]) == list(expected[0])
    for one, other in zip(expected, found, strict=True):
        assert (one["path"], one["prediction"]) == (other["path"], other["prediction"])
        assert bool(one["error"]) == bool(other["error"])
        for column in ("x1", "y1", "x2", "y2", "score"):
            assert float(other[column] or 0) == pytest.approx(float(one[column] or 0), abs=0.02)
    assert len(list((tmp_path / "drawn").iterdir())) == len(SIZES) + 2
    with Image.open(tmp_path / "drawn" / f"{len(SIZES) + 3:05d}_turned.jpg") as drawn:
        assert drawn.size == (901, 1500)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shift"),
    [
        *((name, -1.0) for name in DETECTORS[:3]),  # torchvision's own take minutes: scripts/export_all.py
        # Scores of classes that are one softmax do not all fall together: these two alone can find nothing anywhere.
        *((name, -30.0) for name in DETECTORS if name.endswith(("fcos", "retinanet"))),
    ],
)
def test_exported_files(tmp_path: Path, name: str, shift: float, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both formats are written and have passed their comparison; also with nothing found anywhere."""
    model = opened(tmp_path, name, 64, shift, "data.scenes=10")
    monkeypatch.chdir(tmp_path)
    for number, image in enumerate(images_of_all_sizes()):
        image.save(tmp_path / f"{number}.png")
    for format in ("onnx", "torch"):
        arguments = ("ckpt=model.ckpt", "images=*.png", "test_images=0", f"format={format}", "overwrite=true")
        answer: Answer = command("export", *arguments)
        assert answer.status == 0, answer.err
        largest, boxes = differences(model, open_exported(tmp_path / f"model.{'onnx' if format == 'onnx' else 'pt2'}"))
        assert largest < 1e-4 and (boxes > 100) == (shift > -30)


@pytest.mark.slow
def test_the_table_has_ap(scenes_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any) -> None:
    monkeypatch.chdir(tmp_path)
    answer: Answer = command("export", f"ckpt={scenes_run.directory}", "variants=[fp16]")
    assert answer.status == 0, answer.err
    header, *lines = answer.out.splitlines()[:4]
    assert header.split()[-5:] == ["ap", "ap50", "agreement", "difference", "MB"]
    table = {line.split()[0]: [float(value) for value in line.split()[1:]] for line in lines}
    assert table["checkpoint"][:2] == table["fp32"][:2] and table["fp32"][2:4] == [1.0, pytest.approx(0, abs=1e-3)]
    assert table["fp16"][1] == pytest.approx(table["fp32"][1], abs=0.02)


def test_of_the_operations_of_torchvision_two_are_known() -> None:
    operation("torch.ops.torchvision.nms.default")
    operation("torch.ops.torchvision.roi_align.default")
    for name in ("torchvision.deform_conv2d.default", "torchvision.nms", "image.read_file.default"):
        with pytest.raises(UncheckedPart, match="the operation"):
            operation(f"torch.ops.{name}")
