"""The table of scripts/ensemble_benchmark.py."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from scripts import ensemble_benchmark
from scripts.ensemble_benchmark import Measure, fused_without_our_rule, markdown, nms_of_all, of_classes
from src.evaluation.evidence import Evidence


def test_metrics_count_images_as_often_as_they_are_drawn() -> None:
    shares = np.array([[0.5, 0.5, 0.0], [0.2, 0.8, 0.0], [0.6, 0.2, 0.2]])
    with np.errstate(divide="ignore"):
        logits = np.log(shares).astype(np.float32)
    evidence = Evidence("test", np.arange(3), {"outputs": logits}, np.array([0, 1, 2]))
    found = of_classes(evidence, 1.0)(np.array([0.0, 2.0, 1.0]))
    assert found == pytest.approx(
        {"acc": 2 / 3, "loss": -(2 * math.log(0.8) + math.log(0.2)) / 3, "ece": (2 * 0.2 + 0.6) / 3}, abs=1e-6
    )
    assert of_classes(evidence, 2.0)(np.ones(3))["acc"] == pytest.approx(2 / 3)


def test_differences_are_paired_by_image() -> None:
    hard = np.random.default_rng(0).random(40)  # images that are hard for one are hard for the others

    def loss(easier: float) -> Measure:
        return lambda weights_N: {"loss": float(weights_N @ (hard - easier * (hard > 0.5)) / weights_N.sum())}

    rows = {"one": loss(0.0), "a little better": loss(0.01), "the same": loss(0.0)}
    head, _, one, better, same = markdown(rows, 40, None)
    assert head == "| | loss | difference |"
    assert one == f"| one | {hard.mean():.3f} |  |"
    assert better.startswith(f"| a little better | {hard.mean() - 0.01 * (hard > 0.5).mean():.3f} | **-0.00")
    assert same.endswith("+0.000 [+0.000..+0.000] |")


def test_boxes_by_other_rules_than_ours() -> None:
    """Of one detector two boxes that overlap by 0.67 and one apart, of another one box like the first."""
    first = torch.tensor([[0, 0, 10, 10, 0.8, 1.0], [0, 0, 10, 8, 0.5, 1.0], [20, 20, 30, 30, 0.4, 1.0]])
    second = torch.tensor([[0, 0, 10, 10, 0.6, 1.0]])
    assert nms_of_all([first, second])[:, 4].tolist() == pytest.approx([0.8, 0.4])
    fused = fused_without_our_rule([first, second])
    assert fused[:, 4].tolist() == pytest.approx([(0.8 + 0.5 + 0.6) / 2, 0.4 / 2])
    assert fused[0, :4].tolist() == pytest.approx([0, 0, 10, (8 * 0.5 + 10 * 1.4) / 1.9])
    assert not len(fused_without_our_rule([first[:0], second[:0]]))


@pytest.mark.slow
def test_the_table_of_a_sweep(
    colors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ensemble_benchmark, "OUT", tmp_path / "out")  # a constant: where the script's sweeps lie
    for split in ("train", "val"):
        shutil.copytree(colors, tmp_path / "photographs" / split)
    words = ["--images", str(tmp_path / "photographs"), "--seeds", "2", "trainer.max_epochs=1", "data.image_size_px=32"]
    monkeypatch.setattr("sys.argv", ["ensemble_benchmark", *words])
    for again in (False, True):
        if again:  # nothing is trained
            monkeypatch.setattr("subprocess.run", None)
        ensemble_benchmark.main()
        lines = capsys.readouterr().out.splitlines()
        first = [line.split(" | ")[0].strip("| ") for line in lines if line.startswith("| ") and "acc" not in line]
        assert first == [
            "one, mean of 2", "2 seeds", "2 seeds, no temperature", "one, tta=mirror", "2 seeds, tta=mirror",
            "one, tta=scales", "2 seeds, tta=scales",
        ]  # fmt: skip
