"""Whether src.choose puts first what trains best: its scores beside the accuracy of full fine-tuning.

Over many weights of one network:

    python -m scripts.choose_benchmark DATA_ROOT [--weights name=backbone@file ...] [--noise 0.1 ...] [--seeds 0 ...]
        [--epochs 6] [--px 128] [--out logs/choose_benchmark]

The weights: SqueezeNet's from ImageNet, random ones, and ImageNet's with noise of so many standard deviations of each
tensor; and those that are named, such as runs on other data. Ranks are compared by Spearman's and Kendall's (tau-b)
correlation, with 95 % intervals from drawing the weights anew. What is in --out already is not made again.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file

from src.settings.project import PROJECT_ROOT

Floats = npt.NDArray[np.float64]
IMAGENET = PROJECT_ROOT / "src" / "assets" / "squeezenet1_1_imagenet.safetensors"
RESAMPLES = 10_000


def noisy_weights(noise: float, folder: Path) -> Path:
    """ImageNet's, each tensor with normal noise of `noise` times its own standard deviation (seed 0)."""
    file = folder / f"noise_{noise:g}.safetensors"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        generator = torch.Generator().manual_seed(0)
        tensors = load_file(IMAGENET)
        save_file(
            {
                name: (value + noise * value.std() * torch.randn(value.shape, generator=generator)).contiguous()
                for name, value in tensors.items()
            },
            file,
        )
    return file


def run(command: str, *words: str) -> None:
    subprocess.run([sys.executable, "-m", f"src.{command}", *words], cwd=PROJECT_ROOT, check=True)


def probed(candidates: dict[str, str], data: list[str], out: Path) -> dict[str, float]:
    """The score that src.choose gives each of them."""
    listed = ",".join(candidates.values())
    run("choose", *data, f"backbones=[{listed}]", f"output={out}/choose", f"data.cache_dir={out}/cache")
    with (out / "choose" / "choose.csv").open(newline="", encoding="utf-8") as file:
        scores = {f"{row['backbone']}@{row['weights']}": row["score"] for row in csv.DictReader(file)}
    return {name: float(scores[text]) for name, text in candidates.items()}


def trained(name: str, text: str, data: list[str], epochs: int, seeds: list[int], out: Path) -> list[float]:
    """val/acc of the best epoch of a full fine-tuning with each seed."""
    backbone, _, weights = text.partition("@")
    values = []
    for seed in seeds:
        folder = out / "full" / f"{name}_s{seed}"
        if not (folder / "metrics.json").exists():
            words = ["experiment=full", f"trainer.max_epochs={epochs}", f"backbone={backbone}"]
            words += [f"backbone.weights={weights}", f"seed={seed}", "test=false", "logger=none"]
            run("train", *words, *data, f"output_dir={folder}")
        values.append(json.loads((folder / "metrics.json").read_text())["val/acc"])
    return values


def ranks(values_N: Floats) -> Floats:
    """From 0 on; equal ones share the mean of theirs."""
    below_NN = values_N[:, None] > values_N
    equal_NN = values_N[:, None] == values_N
    return np.asarray(below_NN.sum(axis=1) + (equal_NN.sum(axis=1) - 1) / 2)


def spearman(one_N: Floats, other_N: Floats) -> float:
    a_N, b_N = (ranks(values_N) - (len(values_N) - 1) / 2 for values_N in (one_N, other_N))
    return float(a_N @ b_N / np.sqrt((a_N @ a_N) * (b_N @ b_N)))


def kendall(one_N: Floats, other_N: Floats) -> float:
    """tau-b, which takes ties out of both sides."""
    a_NN, b_NN = (np.sign(values_N[:, None] - values_N) for values_N in (one_N, other_N))
    return float((a_NN * b_NN).sum() / np.sqrt(np.abs(a_NN).sum() * np.abs(b_NN).sum()))


def with_interval(measure: Callable[[Floats, Floats], float], one_N: Floats, other_N: Floats) -> str:
    generator, drawn = np.random.default_rng(0), list[float]()
    while len(drawn) < RESAMPLES:
        some = generator.integers(len(one_N), size=len(one_N))
        if np.ptp(one_N[some]) and np.ptp(other_N[some]):  # else nothing can be ranked
            drawn.append(measure(one_N[some], other_N[some]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{measure(one_N, other_N):.2f} (95 % over the weights: {low:.2f} to {high:.2f})"


def named_weights(arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    yield "ImageNet", f"squeezenet1_1@{IMAGENET}"
    yield "random", "squeezenet1_1@null"
    for noise in arguments.noise:
        yield f"noise_{noise:g}", f"squeezenet1_1@{noisy_weights(noise, arguments.out / 'weights')}"
    for text in arguments.weights:
        name, _, weights = text.partition("=")
        yield name, weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="data of the folder format, with train and val")
    parser.add_argument("--weights", nargs="*", default=[], help="name=backbone@file, more weights to rank")
    parser.add_argument("--noise", nargs="*", type=float, default=[0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 0.75])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--px", type=int, default=128)
    parser.add_argument("--out", type=Path, default=PROJECT_ROOT / "logs" / "choose_benchmark")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    data = ["data=folder", f"data.root={arguments.root.resolve()}", f"data.image_size_px={arguments.px}"]
    candidates = dict(named_weights(arguments))
    scores = probed(candidates, data, out)
    full = {
        name: trained(name, text, data, arguments.epochs, arguments.seeds, out) for name, text in candidates.items()
    }
    print(f"{'weights':20} probe   full fine-tuning, seeds {arguments.seeds}")
    for name in sorted(scores, key=scores.__getitem__, reverse=True):
        print(f"{name:20} {scores[name]:.4f}  {np.mean(full[name]):.4f}  {[round(value, 4) for value in full[name]]}")
    one_N, other_N = np.array([scores[name] for name in full]), np.array([np.mean(full[name]) for name in full])
    print("Spearman:", with_interval(spearman, one_N, other_N))
    print("Kendall:", with_interval(kendall, one_N, other_N))


if __name__ == "__main__":
    main()
