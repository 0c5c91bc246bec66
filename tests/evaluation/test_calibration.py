"""Temperature, calibration error, and who uses them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Answer, Run

from src.evaluation.calibration import brier_score, calibration_metrics, fit_temperature, reliability, to_probabilities


def drawn_labels(logits_NK: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return np.array([generator.choice(len(row), p=row) for row in to_probabilities(logits_NK, True)])


@pytest.mark.parametrize("true_temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found(true_temperature: float) -> None:
    generator = np.random.default_rng(0)
    logits_NK = 2 * generator.normal(size=(4000, 5))
    found = fit_temperature(true_temperature * logits_NK, drawn_labels(logits_NK, generator), True)
    assert found == pytest.approx(true_temperature, rel=0.06)
    several_NK = (generator.random((2000, 5)) < to_probabilities(logits_NK[:2000], False)).astype(np.uint8)
    found = fit_temperature(true_temperature * logits_NK[:2000], several_NK, False)
    assert found == pytest.approx(true_temperature, rel=0.06)


def test_few_images_without_a_mistake_do_not_make_everything_certain() -> None:
    logits_NK = np.array([[2.0, 0.0], [0.0, 1.5], [1.0, -1.0]])
    temperature = fit_temperature(logits_NK, np.array([0, 1, 0]), True)
    assert 0.5 < temperature < 1  # without the prior it would be at the limit, 0.05


def test_calibration_error_and_brier_score_by_hand() -> None:
    probabilities_NK = np.array([[0.95, 0.05], [0.95, 0.05], [0.40, 0.60], [0.35, 0.65]])
    labels_N = np.array([0, 1, 1, 1])
    bins = reliability(probabilities_NK, labels_N, True)
    assert bins.counts.tolist() == [0] * 9 + [2] + [0] * 4 + [2]  # 0.60 and 0.65 lie in 9/15 to 10/15, 0.95 in the last
    assert bins.expected_error == pytest.approx(0.5 * abs(0.625 - 1) + 0.5 * abs(0.95 - 0.5))
    squares = [2 * 0.05**2, 2 * 0.95**2, 2 * 0.4**2, 2 * 0.35**2]
    assert brier_score(probabilities_NK, labels_N, True) == pytest.approx(np.mean(squares))
    several = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], dtype=np.uint8)
    assert brier_score(probabilities_NK, several, False) == pytest.approx(np.mean((probabilities_NK - several) ** 2))
    assert reliability(probabilities_NK, several, False).counts.sum() == 8


def test_calibration_helps_where_the_network_is_too_sure() -> None:
    generator = np.random.default_rng(1)
    logits_NK = generator.normal(size=(3000, 4))
    metrics = calibration_metrics(5 * logits_NK, drawn_labels(logits_NK, generator), 5.0, True)
    assert (
        metrics["ece"] < 0.03 < 0.3 < metrics["ece_uncalibrated"] and metrics["brier"] < metrics["brier_uncalibrated"]
    )


def test_the_best_checkpoint_carries_the_temperature_and_accuracy_stays(
    colors_run: Run, command, tmp_path: Path
) -> None:
    checkpoint = colors_run.checkpoint()
    calibration = checkpoint["finetune"]["calibration"]
    assert calibration["temperature"] == colors_run.metrics["temperature"] != 1.0
    assert calibration["images"] == 9 and calibration["ood_score_p50"] < calibration["ood_score_p99"]
    del checkpoint["finetune"]["calibration"]
    torch.save(checkpoint, tmp_path / "raw.ckpt")
    measured = {}
    for name, ckpt in (("kept", colors_run.directory), ("raw", tmp_path / "raw.ckpt")):
        answer: Answer = command("evaluate", f"ckpt={ckpt}", f"output={tmp_path}/{name}.json", "accelerator=cpu")
        assert answer.status == 0, answer.err
        measured[name] = json.loads((tmp_path / f"{name}.json").read_text())
    for metric in ("test/acc", "test/f1", "test/loss"):
        assert measured["kept"][metric] == measured["raw"][metric]
    assert measured["kept"]["test/ece"] == pytest.approx(colors_run.metrics["test/ece"], abs=1e-5)
    assert measured["kept"]["test/ece_uncalibrated"] == measured["raw"]["test/ece"] != measured["kept"]["test/ece"]


def test_predictions_have_calibrated_probabilities(colors_run: Run, colors: Path, command, tmp_path: Path) -> None:
    checkpoint = colors_run.checkpoint()
    temperature = checkpoint["finetune"]["calibration"].pop("temperature")
    torch.save(checkpoint, tmp_path / "raw.ckpt")
    rows = {}
    for name, ckpt in (("kept", colors_run.directory), ("raw", tmp_path / "raw.ckpt")):
        output = tmp_path / f"{name}.csv"
        answer = command("predict", f"ckpt={ckpt}", f"images={colors}/red", f"output={output}", "accelerator=cpu")
        assert answer.status == 0, answer.err
        rows[name] = Run(tmp_path, None).csv(f"{name}.csv")
    for kept, raw in zip(rows["kept"], rows["raw"], strict=True):
        assert kept["prediction"] == raw["prediction"] and kept["ood_score"] == raw["ood_score"]
        logits = np.log([max(float(raw[f"prob:{name}"]), 1e-9) for name in ("blue", "green", "red")])
        expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
        found = [float(kept[f"prob:{name}"]) for name in ("blue", "green", "red")]
        assert found == pytest.approx(expected.tolist(), abs=2e-4)


def test_abstaining_and_embeddings(colors_run: Run, colors: Path, command, tmp_path: Path) -> None:
    base = ["predict", f"ckpt={colors_run.directory}", f"images={colors}", "accelerator=cpu", "num_workers=0"]
    sure = command(*base, f"output={tmp_path}/all.csv", "embeddings=true")
    assert sure.status == 0, sure.err
    all_rows = Run(tmp_path, None).csv("all.csv")
    limit = float(np.median([float(row["confidence"]) for row in all_rows]))
    answer = command(*base, f"output={tmp_path}/some.csv", f"abstain_below={limit}")
    some_rows = Run(tmp_path, None).csv("some.csv")
    for before, after in zip(all_rows, some_rows, strict=True):
        unsure = float(before["confidence"]) < limit
        assert after["prediction"] == ("" if unsure else before["prediction"])
        assert after["confidence"] == before["confidence"]
    count = sum(row["prediction"] == "" for row in some_rows)
    assert 0 < count < len(some_rows) and f"No prediction for {count} images" in answer.err
    with np.load(tmp_path / "all.npz") as file:
        assert file["path"].tolist() == [row["path"] for row in all_rows]
        assert file["embedding"].shape == (len(all_rows), 512) and file["embedding"].dtype == np.float32
        vectors, colours = file["embedding"], np.array([Path(path).parent.name for path in file["path"]])
    centres = {name: vectors[colours == name].mean(axis=0) for name in ("blue", "green", "red")}
    nearest = [min(centres, key=lambda name: float(np.linalg.norm(v - centres[name]))) for v in vectors]
    assert np.mean(np.array(nearest) == colours) > 0.8


def test_the_ood_score_is_the_energy(colors_run: Run) -> None:
    """The less the logits speak for any class, the higher."""
    from src.build.trained_model import TrainedModel

    task = TrainedModel.open(str(colors_run.directory)).task
    logits_BK = np.array([[2.0, -1.0, 0.5], [0.1, 0.0, 0.0]], dtype=np.float32)
    scores_B = task.ood_scores(logits_BK)
    assert scores_B.tolist() == pytest.approx([-float(np.log(np.exp(row).sum())) for row in logits_BK])
    assert scores_B[0] < scores_B[1]


def test_outputs_that_are_not_finite_are_left_out_and_named(colors_run: Run, command, tmp_path: Path) -> None:
    """One image whose logits overflow must not cost a finished training its temperature, metrics and report."""
    from src.data.table import ImageTable
    from src.data.targets import Classes
    from src.training.evidence import finite_evidence

    table = ImageTable(np.array(["a", "b", "c"]), Classes(np.array([0, 1, 0]), ["x", "y"]), {"val": np.arange(3)})
    logits_NK = np.array([[1, 0], [np.nan, 2], [np.inf, 0]], dtype=np.float32)
    kept = finite_evidence("val", table, np.arange(3), {"outputs": logits_NK})
    assert kept.rows_N.tolist() == [0] == kept.labels.tolist() and not kept.measurable
    assert kept.arrays["outputs"].tolist() == [[1, 0]]
    checkpoint = colors_run.checkpoint()
    del checkpoint["finetune"]["calibration"]
    weight = next(name for name in checkpoint["state_dict"] if name.endswith("classifier.1.weight"))
    checkpoint["state_dict"][weight][0] = 3e38  # the sum over the features overflows
    torch.save(checkpoint, tmp_path / "overflow.ckpt")
    answer = command("evaluate", f"ckpt={tmp_path}/overflow.ckpt", f"report={tmp_path}/r", "accelerator=cpu")
    assert answer.status == 0, answer.err
    assert "The outputs for 9 of 9 test images are not finite" in answer.err and "Traceback" not in answer.err
    assert "More than 2% is too many: there are no metrics of test" in answer.err
    assert "test/acc                nan" in answer.out and "test/loss               nan" in answer.out
