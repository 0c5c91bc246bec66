"""Linear models on features, fitted to the end. Shapes: N images, C features, K classes or numbers."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

LEAST_SPREAD = 1e-6  # of a feature, as a share of the largest: below it, it is constant but for rounding
MOST_ITERATIONS = 200


class Standardised:
    """Features as differences from the mean of `features_NC`, in standard deviations, and so long on average that the
    squares of an image's add up to 1: one strength then means the same for every network.
    """

    def __init__(self, features_NC: Tensor) -> None:
        self.mean_C, spread_C = features_NC.mean(dim=0), features_NC.std(dim=0, correction=0)
        varies_C = spread_C > LEAST_SPREAD * spread_C.max()
        scale_C = 1 / (spread_C * varies_C.sum().clamp(min=1).sqrt())
        self.scale_C = torch.where(varies_C, scale_C, 0.0)

    def __call__(self, features_NC: Tensor) -> Tensor:
        return (features_NC - self.mean_C) * self.scale_C


Affine = tuple[Tensor, Tensor]  # weight [C, K], bias [K]


def logistic_path(x_NC: Tensor, labels: Tensor, classes: int, strengths: Sequence[float]) -> Iterator[Affine]:
    """Logistic regressions with an L2 penalty, one for each strength, each begun where the one before ended.

    Minimises mean cross-entropy + strength / 2 * (|weight|^2 + |bias - b|^2), where b says how often each class is
    there: the more the penalty counts, the nearer all answers are to that. `labels`: int64 [N], softmax over one class
    per image; or float [N, K], 0 or 1, sigmoid for each class. Scikit-learn's C is 1 / (N * strength).
    """
    if labels.ndim == 1:
        share_K = (torch.bincount(labels, minlength=classes) + 0.5) / (len(labels) + 0.5 * classes)
        prior_K = share_K.log()
    else:
        prior_K = torch.logit((labels.sum(dim=0) + 0.5) / (len(labels) + 1))
    prior_K = prior_K.to(x_NC.dtype)
    weight_CK = torch.zeros(x_NC.shape[1], classes, dtype=x_NC.dtype, device=x_NC.device, requires_grad=True)
    bias_K = prior_K.clone().requires_grad_()
    for strength in strengths:
        optimizer = torch.optim.LBFGS(
            [weight_CK, bias_K], max_iter=MOST_ITERATIONS, tolerance_grad=1e-5, tolerance_change=1e-9,
            line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure(strength: float = strength, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
            optimizer.zero_grad()
            penalty = weight_CK.square().sum() + (bias_K - prior_K).square().sum()
            loss = cross_entropy(torch.addmm(bias_K, x_NC, weight_CK), labels) + strength / 2 * penalty
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        yield weight_CK.detach().clone(), bias_K.detach().clone()


def cross_entropy(logits_NK: Tensor, labels: Tensor) -> Tensor:
    """Mean over images; of several classes per image the sum over classes."""
    if labels.ndim == 1:
        return functional.cross_entropy(logits_NK, labels)
    return functional.binary_cross_entropy_with_logits(logits_NK, labels, reduction="sum") / len(labels)


def ridge_path(x_NC: Tensor, values_NK: Tensor, strengths: Sequence[float]) -> Iterator[Affine]:
    """Linear regressions with an L2 penalty: minimise mean squared error + strength * |weight|^2, the bias free.

    `x_NC` has means of 0. All of them follow from one singular value decomposition.
    """
    mean_K = values_NK.mean(dim=0)
    u_NR, s_R, vt_RC = torch.linalg.svd(x_NC, full_matrices=False)
    rotated_RK = u_NR.T @ (values_NK - mean_K)
    for strength in strengths:
        yield vt_RC.T @ ((s_R / (s_R.square() + len(x_NC) * strength))[:, None] * rotated_RK), mean_K
