import numpy as np
import pytest
import torch
from torch.nn import functional as F

from src.drawing import draw_confusion_matrix
from src.losses import FocalLoss
from src.metrics import classification_metrics, confusion_matrix


def test_metrics_against_hand_counts() -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    predictions = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 0, 2])
    metrics = classification_metrics(3, "val/")
    metrics.update(F.one_hot(predictions, 3).float(), labels)
    values = metrics.compute()
    assert values["val/acc"] == pytest.approx(0.8)
    assert values["val/balanced_acc"] == pytest.approx((5 / 6 + 2 / 3 + 1) / 3)
    assert values["val/f1"] == pytest.approx((10 / 12 + 4 / 6 + 1) / 3)


def test_metrics_stay_apart_after_a_batch_without_a_mistake() -> None:
    """torchmetrics' compute groups would merge acc and acc_top5 here, and both would then say the same."""
    metrics = classification_metrics(10, "")
    metrics.update(F.one_hot(torch.arange(10), 10).float(), torch.arange(10))
    wrong = F.one_hot((torch.arange(10) + 1) % 10, 10).float() * 2 + F.one_hot(torch.arange(10), 10).float()
    metrics.update(wrong, torch.arange(10))
    values = metrics.compute()
    assert {name: round(float(value), 4) for name, value in values.items()} == {
        "acc": 0.5, "balanced_acc": 0.5, "f1": 0.5, "acc_top5": 1.0,
    }  # fmt: skip


def test_balanced_accuracy_leaves_out_classes_without_a_picture() -> None:
    metrics = classification_metrics(3, "")
    metrics.update(F.one_hot(torch.tensor([0, 0, 1, 2]), 3).float(), torch.tensor([0, 0, 1, 1]))
    assert metrics.compute()["balanced_acc"] == pytest.approx((1 + 0.5) / 2)


def test_confusion_matrix_has_the_true_class_by_row() -> None:
    matrix = confusion_matrix(2)
    matrix.update(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    assert matrix.compute().tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize("classes", [2, 40, 200])
def test_confusion_matrix_is_drawn_for_any_number_of_classes(classes: int) -> None:
    figure = draw_confusion_matrix(np.eye(classes, dtype=np.int64) * 7, [f"class {i}" for i in range(classes)])
    pixels = np.asarray(figure)
    assert 200 < min(figure.size) < max(figure.size) < 2000
    blue = (pixels == [8, 48, 107]).all(axis=2)
    assert blue.any() and blue.mean() < 0.5


def test_focal_loss() -> None:
    logits, labels = torch.randn(8, 3), torch.randint(0, 3, (8,))
    torch.testing.assert_close(FocalLoss(gamma=0)(logits, labels), F.cross_entropy(logits, labels))
    p = logits.softmax(1).gather(1, labels[:, None]).squeeze(1)
    torch.testing.assert_close(FocalLoss(gamma=2)(logits, labels), ((1 - p) ** 2 * -p.log()).mean())
