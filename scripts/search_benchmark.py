"""What pruning saves, and whether the search finds more than random choice for the same number of epochs.

    python -m scripts.search_benchmark [--repeats 10] [--trials 30] [--epochs 27] [--pruner hyperband] [--json FILE]

Sampler and pruner are those of `sweep=search`; a trial is a network of one hidden layer, in numpy, which learns the
embedded digits by SGD, in a tenth of a second instead of a minute. Five settings are searched. In each repeat (its seed
is that of sampler and networks) the search runs until its trials are used up; random search without pruning then gets
whole trials for at least as many epochs. Told are the best accuracies on val, and those on test where val was best.
"""

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from src.data.formats.digit_images import DIGITS_FILE
from src.evaluation.significance import t_interval
from src.sweeps.search.settings import SearchSettings
from src.sweeps.search.space import read_space
from src.sweeps.search.study import Study, require_optuna

SPACE = read_space(
    ["lr=interval(1e-4,1)", "momentum=interval(0,0.95)", "decay=interval(1e-6,1e-1)", "hidden=int(interval(8,64))",
     "batch=choice(16,64,256)"]
)  # fmt: skip
Floats = np.ndarray[Any, np.dtype[np.float64]]


class Digits:
    """Images float [N, 64] and classes int [N] of train, val and test; few of train, so that settings matter."""

    def __init__(self) -> None:
        with np.load(DIGITS_FILE) as file:
            images, labels = file["images"].reshape(-1, 64) / 16.0, file["labels"]
        order = np.random.default_rng(0).permutation(len(images))
        parts = order[:300], order[300:800], order[800:]
        self.train, self.val, self.test = ((images[rows] - 0.3, labels[rows]) for rows in parts)


class Network:
    """One hidden layer with ReLU, trained by SGD with momentum and weight decay on the cross entropy."""

    def __init__(self, values: dict[str, str], seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.lr, self.momentum, self.decay = (float(values[name]) for name in ("lr", "momentum", "decay"))
        hidden, self.batch = int(values["hidden"]), int(values["batch"])
        self.weights = [
            self.rng.normal(0, (2 / 64) ** 0.5, (64, hidden)), np.zeros(hidden),
            self.rng.normal(0, (1 / hidden) ** 0.5, (hidden, 10)), np.zeros(10),
        ]  # fmt: skip
        self.velocity = [np.zeros_like(one) for one in self.weights]

    def train(self, images_N64: Floats, labels_N: Floats, rate: float) -> None:
        """One epoch; `rate` is a factor on the learning rate."""
        order = self.rng.permutation(len(images_N64))
        for rows in np.split(order, range(self.batch, len(order), self.batch)):
            x, w1, w2 = images_N64[rows], self.weights[0], self.weights[2]
            hidden = np.maximum(x @ w1 + self.weights[1], 0)
            d_logits = softmax(hidden @ w2 + self.weights[3])
            d_logits[np.arange(len(rows)), labels_N[rows]] -= 1
            d_logits /= len(rows)
            d_hidden = (d_logits @ w2.T) * (hidden > 0)
            gradients = [x.T @ d_hidden, d_hidden.sum(0), hidden.T @ d_logits, d_logits.sum(0)]
            for weight, velocity, gradient in zip(self.weights, self.velocity, gradients, strict=True):
                velocity *= self.momentum
                velocity -= rate * self.lr * (gradient + self.decay * weight)
                weight += velocity

    def accuracy(self, images_N64: Floats, labels_N: Floats) -> float:
        hidden = np.maximum(images_N64 @ self.weights[0] + self.weights[1], 0)
        return float(((hidden @ self.weights[2] + self.weights[3]).argmax(1) == labels_N).mean())


def softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    result: Floats = shifted / shifted.sum(1, keepdims=True)
    return result


def search(data: Digits, settings: SearchSettings, epochs: int, budget: int | None = None) -> dict[str, float]:
    """Until the trials are used up, or until `budget` epochs are. A trial's value is its best epoch's on val."""
    study, spent, best = Study(SPACE, settings, "max", epochs), 0, (0.0, 0.0)
    trials = 0
    while trials < settings.trials if budget is None else spent < budget:
        number, values = study.ask()
        network, top, pruned = Network(values, settings.seed), (0.0, 0.0), False
        for epoch in range(1, epochs + 1):
            network.train(*data.train, rate=0.5 + 0.5 * np.cos(np.pi * (epoch - 1) / epochs))
            top = max(top, (network.accuracy(*data.val), network.accuracy(*data.test)), key=lambda pair: pair[0])
            spent += 1
            pruned = study.report(number, {epoch: top[0]}) and epoch < epochs
            if pruned:
                break
        study.tell(number, "pruned" if pruned else "done", None if pruned else top[0])
        best, trials = max(best, top, key=lambda pair: pair[0]), trials + 1
    return {"val": best[0], "test": best[1], "epochs": spent, "trials": trials}


def main() -> None:
    parser = argparse.ArgumentParser(description="python -m scripts.search_benchmark")
    for name, value in (("repeats", 10), ("trials", 30), ("epochs", 27)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--pruner", default="hyperband", choices=["none", "median", "hyperband"])
    parser.add_argument("--sampler", default="tpe", choices=["tpe", "random"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    require_optuna()
    np.seterr(all="ignore")  # networks that diverge
    data, rows = Digits(), []
    for seed in range(options.repeats):
        settings = SearchSettings(options.trials, 1, options.sampler, options.pruner, seed, None)
        ours = search(data, settings, options.epochs)
        random = replace(settings, sampler="random", pruner="none")
        equal = search(data, random, options.epochs, int(ours["epochs"]))
        rows.append({"ours": ours, "random": equal, "saved": 1 - ours["epochs"] / (options.trials * options.epochs)})
        print(f"{seed}: {rows[-1]}", flush=True)
    for split in ("val", "test"):
        differences = [100 * (row["ours"][split] - row["random"][split]) for row in rows]
        low, high = t_interval(differences)
        mean = {name: statistics.mean(row[name][split] for row in rows) for name in ("ours", "random")}
        print(f"{split}: search {mean['ours']:.4f}, random {mean['random']:.4f} at equal epochs, difference in points "
              f"{statistics.mean(differences):+.2f} (95 % CI {low:+.2f}..{high:+.2f})")  # fmt: skip
    print(f"pruning saves {statistics.mean(row['saved'] for row in rows):.0%} of the epochs")
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
