"""src.export of a class for each pixel: images of any size in, mask and confidence in their own pixels out."""

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
from support.slow import mostly_slow, slow
from torch import nn

from scripts.export_all import SEGMENTERS, write_segmenter
from src.build.trained_model import TrainedModel
from src.exporting.graph import trace, write_program
from src.exporting.parity import Reference, check_parity, joined
from src.exporting.run import load_program, open_exported
from src.files.csv_files import read_csv_file
from src.models.ceil_pooling import without_ceil_pooling
from src.models.segmenter import answers_at
from src.settings.errors import RunStopped
from src.settings.project import PROJECT_ROOT
from src.tasks.segmentation.exported import CLASSES_AT_ONCE, pixel_answers

SIZES = ((61, 83), (83, 61), (64, 64), (300, 90), (64, 200), (37, 35), (200, 9), (3, 150))  # width and height


def images_of_all_sizes() -> list[Image.Image]:
    return [scene(number, 96).resize(size) for number, size in enumerate(SIZES)]


def differences(model: TrainedModel, run: Any) -> tuple[float, float, set[int]]:
    """The least share of an image's pixels with the checkpoint's class, how far confidences of these are apart, and the
    classes that were found.
    """
    reference, digests, found = Reference(model.task, model.preprocessing), [], set()
    for image in images_of_all_sizes():
        expected, answer = reference.outputs([image]), reference.outputs_of(run, [image])
        assert answer["mask"].shape == (1, *image.size[::-1]) and answer["mask"].dtype == np.uint8
        digests.append(model.task.digest(expected, answer))
        found |= set(np.unique(answer["mask"]).tolist())
    digest = joined(digests)
    return float(digest["same"].min()), float(digest["apart"].max()), found


def as_runner(model: Any) -> Any:
    def run(images_NCHW: Any) -> Any:
        with torch.no_grad():
            return [output.numpy() for output in model(torch.from_numpy(images_NCHW))]

    return run


@pytest.mark.parametrize("classes", [2, CLASSES_AT_ONCE, CLASSES_AT_ONCE + 1, 3 * CLASSES_AT_ONCE - 2])
def test_answers_of_some_classes_at_a_time(classes: int) -> None:
    logits_BKhw = 4 * torch.randn(2, classes, 6, 7, generator=torch.Generator().manual_seed(classes))
    logits_BKhw[:, 1] = logits_BKhw[:, 0]  # the first of equals
    masks_BHW, confidences_BHW = pixel_answers(logits_BKhw, (25, 30), 1.7)
    for logits_Khw, mask_HW, confidence_HW in zip(logits_BKhw, masks_BHW, confidences_BHW, strict=True):
        wanted_HW, sure_HW = answers_at(logits_Khw, (25, 30), 1.7)
        assert torch.equal(mask_HW, wanted_HW) and mask_HW.dtype == torch.uint8
        assert torch.allclose(confidence_HW, sure_HW, atol=1e-5)
    assert not (masks_BHW == 1).any() and len(masks_BHW.unique()) > 1 - (classes == 2)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (3, 1), (3, 3)])
def test_pooling_that_rounds_up_is_replaced(kernel: int, stride: int) -> None:
    net = nn.Sequential(nn.MaxPool2d(kernel, stride, ceil_mode=True), nn.MaxPool2d(2, 2, padding=1, ceil_mode=True))
    (first, second), maps = list(net), [torch.randn(1, 2, side, side + 3) - 5 for side in range(4, 12)]
    without_ceil_pooling(net)
    assert net[0] is not first and net[1] is second  # of which it does not hold
    for one in maps:
        assert torch.equal(net[0](one), first(one))


@pytest.mark.parametrize(
    "name", mostly_slow((n for n in SEGMENTERS if "resnet50" not in n and "101" not in n), *SEGMENTERS[:2])
)
def test_the_graph_says_what_the_checkpoint_says(tmp_path: Path, name: str) -> None:
    """Before anything is exported."""
    write_segmenter(name, tmp_path / "model.ckpt", 96)
    model = TrainedModel.open(str(tmp_path / "model.ckpt"))
    same, apart, found = differences(model, as_runner(model.task.exported()))
    assert same >= 0.999 and apart < 1e-3 and len(found) > 2


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainedModel:
    """In an empty folder with model.ckpt."""
    monkeypatch.chdir(tmp_path)
    write_segmenter("squeezenet1_1/pyramid", tmp_path / "model.ckpt", 64, "head.strides=[8,16]", "data.scenes=10")
    return TrainedModel.open("model.ckpt")


@pytest.mark.slow
@pytest.mark.parametrize("written", [False, slow(True)])
def test_a_program_says_what_the_checkpoint_says(small: TrainedModel, tmp_path: Path, written: bool) -> None:
    """Of one image, and of several; also once it is written, and loaded without trust."""
    program = trace(small.task.exported(), "it")
    if written:
        write_program(program, {}, tmp_path / "model.pt2")
    run = as_runner(load_program(tmp_path / "model.pt2", "it")[0] if written else program.module())
    same, apart, found = differences(small, run)
    assert same >= 0.999 and apart < 1e-3 and len(found) > 2
    images_3CHW = np.stack([np.asarray(scene(n, 50)).transpose(2, 0, 1) for n in range(3)])
    together, alone = run(images_3CHW), run(images_3CHW[1:2])
    assert (together[0][1] == alone[0][0]).all() and np.allclose(together[1][1], alone[1][0], atol=1e-5)


def test_a_file_that_answers_otherwise_is_not_written(small: TrainedModel, caplog: pytest.LogCaptureFixture) -> None:
    """Its confidences, or the classes of more than one pixel in a thousand."""
    images = images_of_all_sizes()[:2]

    def check(change: Any) -> None:
        run = as_runner(small.task.exported())
        changed = lambda images_NCHW: change(*run(images_NCHW))  # noqa: E731
        check_parity(changed, small.task, small.preprocessing, images, Path("it.onnx"), takes_one=True)

    def with_wrong(pixels: int) -> Any:
        def change(mask_1HW: Any, confidence_1HW: Any) -> Any:
            mask_1HW[0, 7, :pixels] ^= 1
            return [mask_1HW, confidence_1HW]

        return change

    with caplog.at_level("INFO"):
        check(with_wrong(0))
    assert "Parity: 2 of 2 answers" in caplog.text and "of each at least 100 % are the same" in caplog.text
    check(with_wrong(5))  # of 5,063
    with pytest.raises(RunStopped, match=r"it.onnx was not written.*0 of 2 answers.*at least 99\.881 % are the same"):
        check(with_wrong(6))
    with pytest.raises(RunStopped, match=r"2 of 2 answers as the checkpoint's, largest difference 2\.0e-03"):
        check(lambda mask_1HW, confidence_1HW: [mask_1HW, confidence_1HW + np.float32(2e-3)])


@pytest.mark.slow  # torch.onnx takes most of it
def test_an_onnx_file_answers_as_predict_does(small: TrainedModel, tmp_path: Path, command: Any) -> None:
    """Alone, with numpy, Pillow and onnxruntime; images turned by a tag, large, and broken."""
    with_odd_images(tmp_path / "images", images_of_all_sizes())
    answer: Answer = command("export", "ckpt=model.ckpt", "images=images", "test_images=0")
    assert answer.status == 0 and "answers as the checkpoint's" in answer.err, answer.err
    session, facts = onnxruntime.InferenceSession("model.onnx"), json.loads((tmp_path / "model.json").read_text())
    assert facts["outputs"] == ["mask", "confidence"] and facts["palette"][:3] == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    shapes = {output.name: (output.type, output.shape) for output in session.get_outputs()}
    assert shapes == {"mask": ("tensor(uint8)", ["N", "H", "W"]), "confidence": ("tensor(float)", ["N", "H", "W"])}
    typed = ("output=a.csv", "masks=a", "accelerator=cpu", "num_workers=0")
    assert command("predict", "ckpt=model.ckpt", "images=images", *typed).status == 0
    script = shutil.copy(PROJECT_ROOT / "scripts" / "predict_onnx.py", tmp_path / "p.py")
    subprocess.run([sys.executable, script, "model.onnx", "images", "b.csv", "b"], check=True, cwd=tmp_path)
    expected, found = (read_csv_file(tmp_path / name) for name in ("a.csv", "b.csv"))
    assert list(found[0]) == list(expected[0]) and len(found) == len(SIZES) + 2
    for one, other in zip(expected, found, strict=True):
        assert Path(one["path"]).name == Path(other["path"]).name and bool(one["error"]) == bool(other["error"])
        assert float(other["confidence"] or 0) == pytest.approx(float(one["confidence"] or 0), abs=1e-3)
    names = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "a").glob("*.png")) and len(names) == len(SIZES) + 1
    for name in names:
        with Image.open(tmp_path / "a" / name) as one, Image.open(tmp_path / "b" / name) as other:
            assert one.size == other.size and other.mode == "P" and one.getpalette()[:30] == other.getpalette()[:30]
            least = 0.99 if name == "turned.png" else 0.999  # decoded reduced, and enlarged by its nearest pixels
            assert (np.asarray(one) == np.asarray(other)).mean() >= least, name


@pytest.mark.slow
# One of each head; scripts/export_all.py tries the others, by hand.
@pytest.mark.parametrize(
    "name", ["squeezenet1_1/pyramid", "resnet18/lraspp", "mobilenet_v3_small/deeplabv3", "squeezenet1_1/fcn"]
)
def test_exported_files(tmp_path: Path, name: str, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both formats are written and have passed their comparison."""
    monkeypatch.chdir(tmp_path)
    write_segmenter(name, tmp_path / "model.ckpt", 96)
    model = TrainedModel.open("model.ckpt")
    for number, image in enumerate(images_of_all_sizes()):
        image.save(tmp_path / f"{number}.png")
    for format, suffix in (("onnx", "onnx"), ("torch", "pt2")):
        answer: Answer = command("export", "ckpt=model.ckpt", "images=*.png", "test_images=0", f"format={format}")
        assert answer.status == 0, answer.err
        same, apart, found = differences(model, open_exported(tmp_path / f"model.{suffix}"))
        assert same >= 0.999 and apart < 1e-3 and len(found) > 2
        (tmp_path / "model.json").unlink()


@pytest.mark.slow
def test_the_table_has_miou(pixels_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any) -> None:
    """Of the checkpoint what src.train measured, of a file the same, and of a variant nearly that."""
    monkeypatch.chdir(tmp_path)
    answer: Answer = command("export", f"ckpt={pixels_run.directory}", "variants=[fp16,int8]", "calibration_images=4")
    assert answer.status == 0, answer.err
    header, *lines = answer.out.splitlines()[:5]
    assert header.split()[-5:] == ["miou", "acc", "agreement", "difference", "MB"]
    table = {line.split()[0]: [float(value) for value in line.split()[1:]] for line in lines}
    measured = pixels_run.metrics
    assert table["checkpoint"][:2] == [pytest.approx(measured[f"test/{name}"], abs=1e-4) for name in ("miou", "acc")]
    assert table["fp32"][:3] == [*(pytest.approx(value, abs=1e-3) for value in table["checkpoint"][:2]), 1.0]
    assert table["fp16"][1] == pytest.approx(table["fp32"][1], abs=0.01) and 0.5 < table["int8"][2] <= 1
