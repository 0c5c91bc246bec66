"""How many labels src.label_next saves on the digits: its choice against a random one, round by round.

    python -m scripts.label_simulation [--seeds 10] [--start 50] [--count 50] [--rounds 6] [--copies 0]

A pool of 1,197 digits and 600 for the test are drawn anew for each seed; what they show is told only of those that are
chosen. The network is frozen, and its head a softmax regression on its features, trained to the end in each round.
With --copies=6 a quarter of the pool is there seven times, as the frames of a video might be.
"""

import argparse

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from src.data.formats.digit_images import DIGITS_FILE, read_digit
from src.data.transforms import evaluation_transform
from src.evaluation.label_choice import chosen, number_looked_at
from src.evaluation.significance import t_interval
from src.models.classifier import ImageClassifier, pooled
from src.models.weights import build_backbone, find_weights, preprocessing_of
from src.settings.project import PROJECT_ROOT

NAME, SIDE_PX, TEST = "squeezenet1_1", 64, 600
WEIGHTS = PROJECT_ROOT / "src" / "assets" / "squeezenet1_1_imagenet.safetensors"
DECAY = 0.1  # of the squared weights, over twice the number of images

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@torch.inference_mode()
def digit_features() -> tuple[Floats, Ints]:
    """What the head of the pretrained network gets of the N digits [N, C], and what they show [N]."""
    weights = find_weights(NAME, str(WEIGHTS))
    preprocessing = preprocessing_of(NAME, weights).with_size(SIDE_PX, SIDE_PX, None)
    model = ImageClassifier(build_backbone(NAME, weights, SIDE_PX), preprocessing, channels_last=True).eval()
    transform = evaluation_transform(preprocessing)
    with np.load(DIGITS_FILE) as file:
        labels_N = file["labels"].astype(np.int64)
    rows = np.array_split(np.arange(len(labels_N)), 60)
    images = (torch.stack([transform(read_digit(int(row))) for row in part]) for part in rows)
    return torch.cat([pooled(model.forward_features(some)) for some in images]).numpy(), labels_N


def probabilities(known_MC: Floats, labels_M: Ints, asked_NC: Floats) -> Floats:
    """Of ten classes, by a softmax regression on the known images [N, 10]."""
    known, labels = torch.from_numpy(known_MC), torch.from_numpy(labels_M)
    weights, biases = torch.zeros(known.shape[1], 10, requires_grad=True), torch.zeros(10, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, biases], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(known @ weights + biases, labels) + DECAY * weights.square().sum() / (2 * len(labels))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        found: Floats = F.softmax(torch.from_numpy(asked_NC) @ weights + biases, dim=1).numpy()
    return found


def accuracies(features_NC: Floats, labels_N: Ints, options: argparse.Namespace, seed: int, ours: bool) -> list[float]:
    """On the test images after each round, the start first."""
    generator = np.random.default_rng(seed)
    order_N = generator.permutation(len(labels_N))
    test, pool = order_N[:TEST], order_N[TEST:]
    if options.copies:
        again = np.repeat(generator.choice(pool, len(pool) // 4, replace=False), options.copies)
        pool = generator.permutation(np.concatenate([pool, again]))
    scaled_NC = features_NC / np.linalg.norm(features_NC, axis=1, keepdims=True)
    scaled_NC -= scaled_NC.mean(axis=0)
    scaled_NC /= scaled_NC.std() * scaled_NC.shape[1] ** 0.5
    known, rest, found = pool[: options.start], pool[options.start :], []
    for _ in range(options.rounds + 1):
        asked = np.concatenate([test, rest])
        shares_N10 = probabilities(scaled_NC[known], labels_N[known], scaled_NC[asked])
        found.append(float((shares_N10[:TEST].argmax(axis=1) == labels_N[test]).mean()))
        second_R2 = np.partition(shares_N10[TEST:], -2, axis=1)[:, -2:]
        doubts_R = 1 - (second_R2[:, 1] - second_R2[:, 0])
        among = number_looked_at(len(rest), options.count)
        picked = (
            chosen(doubts_R, features_NC[rest], options.count, among)
            if ours
            else generator.choice(len(rest), options.count, replace=False)
        )
        known, rest = np.concatenate([known, rest[picked]]), np.delete(rest, picked)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("seeds", 10), ("start", 50), ("count", 50), ("rounds", 6), ("copies", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    features_NC, labels_N = digit_features()
    random_SR, ours_SR = (
        np.array([accuracies(features_NC, labels_N, options, seed, ours) for seed in range(options.seeds)])
        for ours in (False, True)
    )
    counts_R = options.start + options.count * np.arange(options.rounds + 1)
    print("labels  random  chosen  chosen - random, 95 % CI       better  labels for random's accuracy")
    for r, count in enumerate(counts_R.tolist()):
        differences = (ours_SR[:, r] - random_SR[:, r]).tolist()
        low, high = t_interval(differences) if r else (0.0, 0.0)
        needed = np.interp(random_SR[:, r].mean(), np.maximum.accumulate(ours_SR.mean(axis=0)), counts_R)
        print(
            f"{count:6}  {random_SR[:, r].mean():.4f}  {ours_SR[:, r].mean():.4f}  {np.mean(differences):+.4f}  "
            f"{low:+.4f}..{high:+.4f}  {sum(d > 0 for d in differences):2} of {options.seeds}  {needed:.0f}"
        )


if __name__ == "__main__":
    main()
