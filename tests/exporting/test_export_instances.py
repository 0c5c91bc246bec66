"""Exported networks with masks: the checkpoint's objects, each with its pixels in the image's own size."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Answer, Run
from support.scenes import scene, write_scenes

from src.build.trained_model import TrainedModel
from src.data.transforms import evaluation_transform
from src.evaluation.pixels.crops import Crop
from src.files.csv_files import read_csv_file
from src.settings.project import PROJECT_ROOT
from src.tasks.instance_segmentation.prediction import InstanceSegmentationPrediction as Prediction


@pytest.fixture(scope="module")
def model(objects_run: Run) -> TrainedModel:
    return TrainedModel.open(str(objects_run.directory), "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("size", [(72, 72), (150, 100), (61, 200)])
def test_the_plain_operations_answer_as_the_network(model: TrainedModel, size: tuple[int, int]) -> None:
    image, task, layer = scene(1).resize(size), model.task, model.task.output_layer()
    layer.thresholds = [0.0] * len(layer.class_names)
    with torch.inference_mode():
        outputs = task(evaluation_transform(model.preprocessing)(image)[None])
        expected = layer.arrays(task.placed(outputs, torch.tensor([size])))
        given = task.exported().eval()(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None])
    assert given[3].dtype == torch.uint8 and given[3].shape[1:] == size[::-1]
    found = Prediction.named([value.numpy() for value in given], layer.class_names)
    (one,), (other,) = (Prediction.of(answer, layer) for answer in (expected, found))
    assert len(one) == len(other) > 0
    assert not one.unlike_masks(other) and other.size_wh == size == one.size_wh
    assert task.compare(expected, found) == (1, pytest.approx(0, abs=1e-4))
    found["masks"][0, 0] = Crop.of(np.ones(size[::-1], dtype=np.bool_))  # type: ignore[index]
    assert one.unlike_masks(Prediction.of(found, layer)[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_a_file_is_written_and_answers_as_its_checkpoint(
    objects_run: Run, command: Any, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / ("m.onnx" if kind == "onnx" else "m.pt2")
    answer: Answer = command("export", f"ckpt={objects_run.directory}", f"format={kind}", f"output={file}")
    assert answer.status == 0, answer.err
    assert re.search(r"(\d+) of \1 answers as the checkpoint's", answer.err) and file.stat().st_size > 1e6
    assert "mask_ap50" in answer.out
    if kind == "onnx":
        images, typed = write_scenes(tmp_path / "images", 3), f"output={tmp_path / 'a.csv'}"
        assert command("predict", f"ckpt={objects_run.directory}", f"images={images}", typed).status == 0
        script = [sys.executable, PROJECT_ROOT / "scripts" / "predict_onnx.py", file, images, "b.csv", "drawn"]
        subprocess.run(script, check=True, cwd=tmp_path)
        wanted, found = (read_csv_file(tmp_path / name) for name in ("a.csv", "b.csv"))
        assert list(found[0]) == list(wanted[0]) and len(found) == len(wanted) and any(row["pixels"] for row in found)
        for one, other in zip(wanted, found, strict=True):
            assert one["prediction"] == other["prediction"]
            assert abs(int(one["pixels"] or 0) - int(other["pixels"] or 0)) <= 2
        assert len(list((tmp_path / "drawn").iterdir())) == 3
