"""Which labels look wrong: confident learning by hand, on planted errors, per class of several, and for numbers."""

import numpy as np
import pytest

from src.evaluation.label_errors import count_errors, deviations, wrong_labels
from src.settings.options import task_names
from src.tasks.lookup import prediction_class


def test_wrong_labels_by_hand() -> None:
    """Thresholds: class 0 (0.9 + 0.8 + 0.1) / 3 = 0.6, class 1 (0.7 + 0.6 + 0.8) / 3 = 0.7."""
    labels_N = np.array([0, 0, 0, 1, 1, 1])
    of_0_N = np.array([0.9, 0.8, 0.1, 0.3, 0.4, 0.2])
    probabilities_NK = np.stack([of_0_N, 1 - of_0_N], axis=1)
    assert count_errors(labels_N, probabilities_NK) == 1
    assert wrong_labels(labels_N, probabilities_NK).tolist() == [2]
    probabilities_NK[4] = (0.65, 0.35)  # class 1 now (0.7 + 0.35 + 0.8) / 3, class 0 as before
    assert wrong_labels(labels_N, probabilities_NK).tolist() == [2, 4]
    probabilities_NK[4] = (0.55, 0.45)  # likelier 0, but below its threshold
    assert wrong_labels(labels_N, probabilities_NK).tolist() == [2]
    assert wrong_labels(labels_N, probabilities_NK, every=True).tolist() == [2, 4]


def test_a_class_without_labels_claims_no_image() -> None:
    probabilities_NK = np.array([[0.9, 0.0, 0.1], [0.2, 0.1, 0.7], [0.8, 0.05, 0.15]])
    assert count_errors(np.array([0, 1, 0]), probabilities_NK) == 0
    assert wrong_labels(np.array([0, 0, 0]), probabilities_NK[:, :2]).tolist() == []


@pytest.mark.parametrize("sharpness", [1.0, 4.0])
def test_planted_errors_are_found_by_overconfident_models_too(sharpness: float) -> None:
    """A model that is right for 97 of 100; the logits of the overconfident one are four times as large."""
    generator = np.random.default_rng(0)
    truth_N = generator.integers(0, 5, 2000)
    logits_NK = generator.normal(size=(2000, 5)) + 3.2 * (np.arange(5) == truth_N[:, None])
    powers_NK = np.exp(sharpness * logits_NK)
    labels_N, planted_N = truth_N.copy(), np.arange(2000) < 100
    labels_N[planted_N] = (truth_N[planted_N] + generator.integers(1, 5, 100)) % 5
    found = wrong_labels(labels_N, powers_NK / powers_NK.sum(axis=1, keepdims=True))
    assert planted_N[found].mean() > 0.8 and planted_N[found].sum() > 55


def test_what_a_model_of_several_classes_says_instead() -> None:
    """Each class on its own: `a` is missing once, `b` is there once too often; the least probable comes first."""
    kind = prediction_class("multilabel")
    rows = [{"path": "x", "prediction": "a", "prob:a": "0.9", "prob:b": "0.1"}]
    assert kind.numbers_in(rows[0]) == {"a": 0.9, "b": 0.1}
    numbers_NK = np.array([[0.9, 0.1], [0.8, 0.9], [0.97, 0.2], [0.1, 0.8], [0.2, 0.01], [0.1, 0.9]])
    found = kind.suspects(["a", "a;b", "", "b", "b", "b"], ["a", "b"], numbers_NK, every=False)
    assert [(one.image, one.suggested) for one in found] == [(4, ""), (2, "a")]
    assert found[0].scores == {"label_probability": "0.0100", "suggested_probability": "0.9900"}
    with pytest.raises(ValueError, match="c"):
        kind.suspects(["c"], ["a", "b"], numbers_NK[:1], every=False)


def test_numbers_far_from_the_others_errors() -> None:
    assert deviations(np.array([[0.0], [1.0], [2.0], [3.0], [104.0]]))[4, 0] == pytest.approx(102 / 1.4826)
    assert not deviations(np.array([[0.0], [0.0], [0.0], [9.0]])).any()  # most errors are equal: no scale
    kind = prediction_class("regression")
    assert kind.numbers_in({"path": "x", "label": "1", "predicted:label": "2", "error": ""}) == {"label": 2.0}
    values_N1 = np.linspace(0, 1, 40)[:, None] ** 2
    labels = [str(value) for value in values_N1[:, 0] + np.tile([0.01, -0.02], 20)]
    labels[7] = "30"
    found = kind.suspects(labels, ["size"], values_N1, every=False)
    assert [one.image for one in found] == [7] and found[0].suggested == f"{values_N1[7, 0]:.6g}"
    assert len(kind.suspects(labels, ["size"], values_N1, every=True)) == 40


def test_tasks_with_places_have_no_numbers_of_an_image() -> None:
    row = {"path": "x", "label": "a", "x1": "1", "y1": "1", "x2": "2", "y2": "2", "prediction": "a", "score": "1"}
    assert all(not prediction_class(name).numbers_in(row) for name in task_names() if prediction_class(name).says_where)
