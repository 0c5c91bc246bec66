"""What memory layout, fused optimizers and bf16 are worth on this CPU: seconds per training step of SqueezeNet 1.1.

uv run python -m scripts.compute
"""

import statistics
import sys
import time

import torch
from rich import print
from torch import nn

from src.models.classifier import ImageClassifier
from src.models.heads import linear_head
from src.models.weights import build_backbone, preprocessing_of
from src.settings.project import PROJECT_ROOT

WEIGHTS = PROJECT_ROOT / "src" / "assets" / "squeezenet1_1_imagenet.safetensors"
CASES = {  # channels_last, fused, bf16
    "channels_last, fused (the default)": (True, True, False),
    "channels_last, not fused": (True, False, False),
    "contiguous, fused": (False, True, False),
    "channels_last, fused, bf16-mixed": (True, True, True),
}
ROUNDS, BATCH_SIZE = 6, 32


def build(channels_last: bool) -> ImageClassifier:
    preprocessing = preprocessing_of("squeezenet1_1", None)
    net = build_backbone("squeezenet1_1", WEIGHTS, preprocessing.crop_px)
    model = ImageClassifier(net, preprocessing, channels_last)
    model.reset_classifier(2, linear_head)
    return model.train()


def main() -> None:
    images = torch.randint(0, 256, (BATCH_SIZE, 3, 224, 224), dtype=torch.uint8)
    labels = torch.randint(0, 2, (BATCH_SIZE,))
    models = {name: build(channels_last) for name, (channels_last, _, _) in CASES.items()}
    optimizers = {
        name: torch.optim.AdamW(models[name].parameters(), fused=fused) for name, (_, fused, _) in CASES.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(ROUNDS):
        for name, (_, _, bf16) in CASES.items():  # in turn, so that all see the same machine
            start = time.perf_counter()
            optimizers[name].zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = nn.functional.cross_entropy(models[name](images), labels)
            torch.autograd.backward(loss)
            optimizers[name].step()
            seconds[name].append(time.perf_counter() - start)
    for name, times in seconds.items():
        median = statistics.median(times[1:])
        print(f"{name:36s} {median:.3f} s per step  {BATCH_SIZE / median:.1f} images/s")


if __name__ == "__main__":
    print(__doc__) if "--help" in sys.argv else main()
