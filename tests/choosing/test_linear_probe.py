"""Linear probes on synthetic features: the optimum, what cross-validation lets a probe see, and what scores mean."""

from typing import Any

import numpy as np
import pytest
import torch

from src.choosing.linear import Standardised, cross_entropy, logistic_path, ridge_path
from src.choosing.probes import ClassProbe, LinearProbe, NumberProbe, TagProbe, probe_class
from src.choosing.validation import cross_validated, parts_of, steps
from src.data.table import ImageTable, string_column
from src.data.targets import Classes
from src.settings.errors import ConfigError

STRENGTH = 1e-2


def synthetic(images: int, features: int, classes: int, seed: int = 0) -> tuple[Any, Any]:
    """Features float32 [N, C] around a centre per class, and classes int64 [N]."""
    generator = np.random.default_rng(seed)
    labels_N = np.arange(images) % classes
    centres_KC = generator.normal(size=(classes, features))
    noise_NC = 1.5 * generator.normal(size=(images, features))
    return torch.from_numpy((centres_KC[labels_N] + noise_NC).astype(np.float32)), labels_N


def newton(x_NC: Any, there_N: Any, strength: float) -> Any:
    """The reference: Newton's method on one regularised logistic regression, in float64; weights, then the bias."""
    x_ND = np.hstack([x_NC, np.ones((len(x_NC), 1))])
    share = (there_N.sum() + 0.5) / (len(there_N) + 1)
    prior_D = np.r_[np.zeros(x_NC.shape[1]), np.log(share / (1 - share))]
    w_D = prior_D.copy()
    for _ in range(30):
        p_N = 1 / (1 + np.exp(-x_ND @ w_D))
        gradient_D = x_ND.T @ (p_N - there_N) / len(x_ND) + strength * (w_D - prior_D)
        curvature = (x_ND * (p_N * (1 - p_N))[:, None]).T @ x_ND / len(x_ND) + strength * np.eye(len(w_D))
        w_D -= np.linalg.solve(curvature, gradient_D)
    return w_D


def test_logistic_regressions_are_those_of_newtons_method() -> None:
    features_NC, labels_N = synthetic(90, 6, 3)
    x_NC = Standardised(features_NC)(features_NC)
    assert float(x_NC.square().sum(dim=1).mean()) == pytest.approx(1, rel=1e-5)
    there_NK = np.eye(3)[labels_N]
    *_, (weight_CK, bias_K) = logistic_path(x_NC, torch.from_numpy(there_NK).float(), 3, [1.0, STRENGTH])
    for k in range(3):
        expected = newton(x_NC.double().numpy(), there_NK[:, k], STRENGTH)
        np.testing.assert_allclose(np.r_[weight_CK[:, k], bias_K[k]], expected, atol=5e-3)


def test_softmax_ends_where_the_loss_is_flat() -> None:
    """It is convex, so nothing else is its minimum."""
    features_NC, labels_N = synthetic(90, 6, 3)
    x_NC, labels = Standardised(features_NC)(features_NC), torch.from_numpy(labels_N)
    ((weight_CK, bias_K),) = logistic_path(x_NC, labels, 3, [STRENGTH])
    weight_CK.requires_grad_()
    loss = cross_entropy(x_NC @ weight_CK + bias_K, labels) + STRENGTH / 2 * weight_CK.square().sum()
    (gradient_CK,) = torch.autograd.grad(loss, weight_CK)
    assert float(weight_CK.detach().abs().max()) > 0.5
    assert float(gradient_CK.abs().max()) < 1e-4


def test_ridge_regressions_solve_the_normal_equations() -> None:
    features_NC, labels_N = synthetic(40, 60, 4)  # more features than images
    x_NC = Standardised(features_NC)(features_NC).double()
    values_NK = torch.from_numpy(np.c_[labels_N, labels_N**2].astype(np.float64))
    for strength, (weight_CK, bias_K) in zip([1.0, 1e-3], ridge_path(x_NC, values_NK, [1.0, 1e-3]), strict=True):
        curvature = x_NC.T @ x_NC / len(x_NC) + strength * torch.eye(60)
        centred_NK = values_NK - values_NK.mean(dim=0)
        expected = torch.linalg.solve(curvature, x_NC.T @ centred_NK / len(x_NC))
        torch.testing.assert_close(weight_CK, expected, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(bias_K, values_NK.mean(dim=0))


def test_features_that_never_change_count_for_nothing() -> None:
    features_NC = torch.cat([synthetic(20, 2, 2)[0], torch.full((20, 1), 7.3)], dim=1)
    x_NC = Standardised(features_NC)(features_NC + torch.tensor([0, 0, 100.0]))
    assert x_NC.isfinite().all() and not x_NC[:, 2].any()


def probes() -> list[tuple[LinearProbe, LinearProbe]]:
    """Of each kind, with labels of 60 images, and with other labels in the first of three parts."""
    labels_N = np.arange(60) % 2
    wrong_N = np.where(np.arange(60) % 3 == 0, 1 - labels_N, labels_N)
    tags, numbers = (lambda n: np.c_[n, 1 - n].astype(np.uint8)), (lambda n: n[:, None].astype(np.float32))
    return [
        (ClassProbe(labels_N, 2), ClassProbe(wrong_N, 2)),
        (TagProbe(tags(labels_N), 2), TagProbe(tags(wrong_N), 2)),
        (NumberProbe(numbers(labels_N), 1), NumberProbe(numbers(wrong_N), 1)),
    ]


@pytest.mark.parametrize(("right", "wrong"), probes(), ids=lambda probe: type(probe).__name__)
def test_no_label_of_a_part_is_seen_by_the_probe_that_answers_it(right: LinearProbe, wrong: LinearProbe) -> None:
    """Strength and temperature are chosen without it, too."""
    features_NC, _ = synthetic(60, 4, 2)
    part_N, done = np.arange(60) % 3, list[int]()
    found = cross_validated(right, features_NC, part_N, lambda: done.append(1))
    other = cross_validated(wrong, features_NC, part_N)
    np.testing.assert_array_equal(found.outputs_NK[part_N == 0], other.outputs_NK[part_N == 0])
    assert np.abs(found.outputs_NK[part_N == 1] - other.outputs_NK[part_N == 1]).max() > 1e-3
    assert len(done) == steps(3)


@pytest.mark.parametrize("probe", [one for one, _ in probes()], ids=lambda probe: type(probe).__name__)
def test_scores_of_answers_that_are_right(probe: LinearProbe) -> None:
    features_NC = torch.from_numpy(np.c_[np.arange(60) % 2, np.zeros(60)].astype(np.float32))
    kept = probe.keep(cross_validated(probe, features_NC, np.arange(60) % 3).outputs_NK)
    every_N, values = np.ones(60), dict[str, float]()
    for name in probe.measures:
        values[name] = probe.measure(name, kept, probe.labels)(every_N)
    best = {"acc": 1, "balanced_acc": 1, "map": 1, "mae": 0, "rmse": 0, "r2": 1}
    assert {name: value for name, value in values.items() if name != "loss"} == pytest.approx(
        {name: best[name] for name in probe.measures if name != "loss"}, abs=2e-3
    )
    assert values.get("loss", 0.0) < 0.2


def test_each_image_counts_as_often_as_it_is_drawn() -> None:
    labels_N, predicted_N = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    kept, weights_N = {"predicted": predicted_N, "loss": np.zeros(4)}, np.array([1.0, 0.0, 2.0, 1.0])
    probe = ClassProbe(labels_N, 2)
    assert probe.measure("acc", kept, labels_N)(weights_N) == 0.5
    assert probe.measure("balanced_acc", kept, labels_N)(weights_N) == pytest.approx((1 / 3 + 1) / 2)


def test_parts_are_those_of_cross_validation() -> None:
    """Classes spread evenly, groups whole; two parts leave nothing to choose with."""
    labels_N, groups_N = np.arange(60) % 2, np.arange(60) // 4
    table = ImageTable(string_column(map(str, range(60))), Classes(labels_N, ["a", "b"]), {})
    pool = np.arange(10, 50)
    part_N = parts_of(table, pool, 4, seed=0)
    assert [np.bincount(labels_N[pool][part_N == part]).tolist() for part in range(4)] == [[5, 5]] * 4
    table.groups_N = groups_N
    part_N = parts_of(table, pool, 4, seed=0)
    assert all(len(set(part_N[groups_N[pool] == group])) == 1 for group in np.unique(groups_N[pool]))
    with pytest.raises(ConfigError, match=r"data\.folds=2 .* at least 3"):
        parts_of(table, pool, 2, seed=0)


def test_what_cannot_be_ranked_by_is_told() -> None:
    with pytest.raises(ConfigError, match=r"task\.monitor='val/f1' .* Allowed: val/acc, val/balanced_acc, val/loss\."):
        probe_class("classes", "f1")
