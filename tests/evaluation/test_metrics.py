import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchmetrics.classification import MulticlassF1Score
from torchmetrics.functional.classification import multilabel_average_precision

from src.evaluation.class_scores import Ranking
from src.evaluation.confusion import count_confusions
from src.evaluation.evidence import Evidence
from src.evaluation.metric_facts import facts_of
from src.reports.confusion_matrix import draw_confusion_matrix, draw_confusions
from src.tasks.classification.metrics import ClassificationMetrics
from src.tasks.multilabel.metrics import multilabel_metrics
from src.tasks.multilabel.report import intervals
from src.tasks.regression.metrics import RegressionMetrics
from src.training.losses import FocalLoss


def test_metrics_against_hand_counts() -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    predictions = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 0, 2])
    metrics = ClassificationMetrics(3)
    metrics.update(F.one_hot(predictions, 3).float(), labels)
    values = metrics.compute()
    assert values["acc"] == pytest.approx(0.8)
    assert values["balanced_acc"] == pytest.approx((5 / 6 + 2 / 3 + 1) / 3)
    assert values["f1"] == pytest.approx((10 / 12 + 4 / 6 + 1) / 3)


def test_metrics_stay_apart_after_a_batch_without_a_mistake() -> None:
    """torchmetrics' compute groups would merge acc and acc_top5 here, and both would then say the same."""
    metrics = ClassificationMetrics(10)
    metrics.update(F.one_hot(torch.arange(10), 10).float(), torch.arange(10))
    wrong = F.one_hot((torch.arange(10) + 1) % 10, 10).float() * 2 + F.one_hot(torch.arange(10), 10).float()
    metrics.update(wrong, torch.arange(10))
    values = metrics.compute()
    assert {name: round(float(value), 4) for name, value in values.items()} == {
        "acc": 0.5, "balanced_acc": 0.5, "f1": 0.5, "acc_top5": 1.0,
    }  # fmt: skip


def test_balanced_accuracy_leaves_out_classes_without_an_image() -> None:
    metrics = ClassificationMetrics(3)
    metrics.update(F.one_hot(torch.tensor([0, 0, 1, 2]), 3).float(), torch.tensor([0, 0, 1, 1]))
    assert metrics.compute()["balanced_acc"] == pytest.approx((1 + 0.5) / 2)


def test_metrics_are_those_of_torchmetrics() -> None:
    """Over several batches, with classes that are never shown, never predicted, or neither."""
    generator = torch.Generator().manual_seed(0)
    metrics, f1 = ClassificationMetrics(12), MulticlassF1Score(12, average="macro")
    for _ in range(3):
        outputs_BK = torch.randn(16, 12, generator=generator)
        outputs_BK[:, 10:] -= 100
        labels_B = torch.randint(0, 9, (16,), generator=generator)
        metrics.update(outputs_BK, labels_B)
        f1.update(outputs_BK, labels_B)
    assert metrics.compute()["f1"] == pytest.approx(float(f1.compute()), abs=1e-6)


@pytest.mark.slow  # a process of its own, for its memory
def test_counting_by_class_needs_no_matrix_of_all_classes() -> None:
    """20,000 classes: 3.2 GB if a batch made a matrix of them, here within 300 MB."""
    script = (
        "import resource, torch\n"
        "from src.tasks.classification.metrics import ClassificationMetrics\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "metrics = ClassificationMetrics(20_000)\n"
        "metrics.update(torch.randn(8, 20_000), torch.arange(8))\n"
        "metrics.compute()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300 * 1024  # KiB


def test_confusions_have_the_true_class_by_row() -> None:
    confusions = count_confusions(np.array([1, 1, 0, 1]), np.array([0, 1, 2, 0]), 3)
    assert confusions.matrix().tolist() == [[0, 2, 0], [0, 1, 0], [1, 0, 0]]
    assert confusions.true_counts.tolist() == [2, 1, 1] and confusions.predicted_counts.tolist() == [1, 3, 0]
    assert confusions.right_counts.tolist() == [0, 1, 0] and confusions.most_confused(1) == [(0, 1, 2)]


def test_confusions_of_very_many_classes_are_drawn_together() -> None:
    classes = 30_000  # a matrix of them would take 7 GB
    labels_N = np.arange(classes)
    confusions = count_confusions(np.where(labels_N < 9000, 0, labels_N), labels_N, classes)
    figure = draw_confusions(confusions, [f"class {k}" for k in range(classes)])
    assert max(figure.size) < 5000
    assert sorted(confusions.neighbouring_order()) == labels_N.tolist()


@pytest.mark.parametrize("classes", [2, 40, 200])
def test_confusion_matrix_is_drawn_for_any_number_of_classes(classes: int) -> None:
    figure = draw_confusion_matrix(
        np.eye(classes, dtype=np.int64) * 7, [f"class {i}" for i in range(classes)], 7 * classes
    )
    pixels = np.asarray(figure)
    assert 200 < min(figure.size) < max(figure.size) < 2000
    blue = (pixels == [8, 48, 107]).all(axis=2)
    assert blue.any() and blue.mean() < 0.5


def test_focal_loss() -> None:
    logits, labels = torch.randn(8, 3), torch.randint(0, 3, (8,))
    torch.testing.assert_close(FocalLoss(gamma=0)(logits, labels), F.cross_entropy(logits, labels))
    p = logits.softmax(1).gather(1, labels[:, None]).squeeze(1)
    torch.testing.assert_close(FocalLoss(gamma=2)(logits, labels), ((1 - p) ** 2 * -p.log()).mean())


@pytest.mark.parametrize("name", ["mae", "rmse"])
def test_errors_of_regression_by_hand(name: str) -> None:
    errors = RegressionMetrics(2)
    errors.update(torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.zeros(2, 2))
    expected = {"mae": [2.0, 2.0], "rmse": [5**0.5, 8**0.5]}
    assert errors.compute()[name].tolist() == pytest.approx(expected[name])


def test_average_precision_is_that_of_torchmetrics_with_ties() -> None:
    generator = np.random.default_rng(0)
    scores_NK = generator.integers(1, 6, size=(60, 3)) / 10  # five scores for 60 images
    labels_NK = generator.random((60, 3)) < 0.4
    expected = multilabel_average_precision(torch.from_numpy(scores_NK), torch.from_numpy(labels_NK).int(), 3, None)
    assert Ranking(scores_NK, labels_NK).average_precision() == pytest.approx(expected.numpy(), abs=1e-6)
    weights_N = generator.integers(0, 3, size=60)
    drawn_N = np.repeat(np.arange(60), weights_N)  # a weight is how often an image counts
    again = Ranking(scores_NK[drawn_N], labels_NK[drawn_N]).average_precision()
    assert Ranking(scores_NK, labels_NK).average_precision(weights_N.astype(float)) == pytest.approx(again)


def test_the_interval_is_that_of_the_map_that_is_reported() -> None:
    """Half of the images have the same score: the order of the rows must not decide which of them is ahead."""
    labels_NK = np.array([[1]] * 50 + [[0]] * 50 + [[1], [0]] * 50, dtype=np.uint8)
    logits_NK = np.concatenate([np.zeros(100), np.linspace(-3, 3, 100)]).astype(np.float32)[:, None]
    measured = multilabel_metrics(torch.from_numpy(logits_NK), torch.from_numpy(labels_NK), torch.tensor([0.5]))
    evidence = Evidence("test", np.arange(200), {"outputs": logits_NK}, labels_NK)
    low, high = intervals(SimpleNamespace(thresholds_K=torch.tensor([0.5])), evidence)["map"]
    assert low < float(measured["map"]) < high and (low + high) / 2 == pytest.approx(float(measured["map"]), abs=0.02)


def test_logits_that_float32_probabilities_do_not_tell_apart_are_no_ties() -> None:
    logits_NK = torch.tensor([[18.0], [20.0], [19.0], [1.0]])
    labels_NK = torch.tensor([[0], [1], [1], [0]], dtype=torch.uint8)
    assert multilabel_metrics(logits_NK, labels_NK, torch.tensor([0.5]))["map"] == 1


@pytest.mark.parametrize(
    ("key", "better", "unit"),
    [
        ("val/acc", "max", "share"),
        ("last/test/mae/age", "min", ""),
        ("test/ece_uncalibrated", "min", ""),
        ("fit_seconds", "min", "seconds"),
        ("lr_find/phase_1", "", ""),
        ("val/their_own", "", ""),
    ],
)
def test_facts_of_metrics(key: str, better: str, unit: str) -> None:
    assert (facts_of(key).better, facts_of(key).unit) == (better, unit)
