"""Boxes of several detectors made into one, by hand, and what a combined detector says of scenes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Answer, Run
from support.members import changed_checkpoint

from src.build.ensemble import open_model
from src.tasks.detection.combination import DetectionCombination
from src.tasks.detection.export import DetectionOutputs
from src.tasks.detection.fusion import fused_boxes


def rows(*values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 6)


def test_boxes_of_two_detectors_become_one() -> None:
    """The mean weighted by score; what one of two found has half its score; other classes stay apart."""
    one = rows((0, 0, 10, 10, 0.8, 1), (50, 50, 60, 60, 0.6, 0))
    other = rows((0, 0, 10, 14, 0.4, 1), (0, 0, 10, 10, 0.2, 2))
    expected = rows((0, 0, 10, (0.8 * 10 + 0.4 * 14) / 1.2, 0.6, 1), (50, 50, 60, 60, 0.3, 0), (0, 0, 10, 10, 0.1, 2))
    torch.testing.assert_close(fused_boxes([one, other]), expected)
    torch.testing.assert_close(fused_boxes([other, one]), expected)
    assert fused_boxes([one[:0], other[:0]]).shape == (0, 6)


def test_what_a_detector_keeps_apart_stays_apart() -> None:
    """Two objects that overlap by 0.6: both detectors found both."""
    both = rows((0, 0, 10, 10, 0.9, 0), (0, 2.5, 10, 12.5, 0.8, 0))
    torch.testing.assert_close(fused_boxes([both, both]), both)


def test_class_ids_and_mirrored_boxes() -> None:
    """The second detector counts its classes b, a; a mirrored image's boxes go back; rows without a box stay."""
    layers = [DetectionOutputs(["a", "b"], None), DetectionOutputs(["b", "a"], None)]
    combination = DetectionCombination(layers, [None, [1, 0]])
    empty = (0, 0, 0, 0, 0, -1)
    one, other = rows((0.1, 0.2, 0.3, 0.4, 0.9, 0), empty)[None], rows((0.7, 0.2, 0.9, 0.4, 0.5, 1), empty)[None]
    back = combination.unmirrored(other)
    torch.testing.assert_close(back[0], rows((0.1, 0.2, 0.3, 0.4, 0.5, 1), empty))
    torch.testing.assert_close(combination([one, back])[0], rows((0.1, 0.2, 0.3, 0.4, 0.7, 0), empty))
    assert combination.own_labels(1, torch.tensor([0, 1, 1])).tolist() == [1, 0, 0]


@pytest.mark.slow
def test_a_detector_twice_is_the_detector(scenes_run: Run, tmp_path: Path, command: Any) -> None:
    """Metrics stay, the one with its classes in another order included; a graph is refused, and so is mirroring."""
    best = scenes_run.directory / "checkpoints" / "best.ckpt"
    files = [changed_checkpoint(best, tmp_path / f"{n}.ckpt", 0) for n in range(2)]
    ckpt = f"ckpt=[{files[0]},{files[1]}]"
    answers: list[Answer] = [command("evaluate", one, "accelerator=cpu") for one in (f"ckpt={files[0]}", ckpt)]
    assert [answer.status for answer in answers] == [0, 0], answers[1].err
    alone, twice = ({line.split()[0]: float(line.split()[1]) for line in answer.out.splitlines()} for answer in answers)
    for name in ("test/ap", "test/ap50", "test/loss", "test/f1"):
        assert twice[name] == pytest.approx(alone[name], abs=2e-3), name
    answer: Answer = command("export", ckpt, f"output={tmp_path}/m.onnx")
    assert answer.status == 1 and "for which there is no graph" in answer.err
    answer = command("predict", ckpt, f"images={scenes_run.directory}/report", "tta=mirror", "accelerator=cpu")
    assert answer.status == 1 and "mirror_safe=false" in answer.err
    model = open_model([str(file) for file in files])
    thresholds = open_model(str(files[0])).task.output_layer().thresholds
    assert model.task.output_layer().thresholds == pytest.approx(thresholds)
