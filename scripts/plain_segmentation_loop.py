"""The loop that one would write by hand for a class per pixel, which scripts/reproduce.py compares this project with.

    python -m scripts.plain_segmentation_loop --epochs 16 --seed 0 [--json out.json]

torchvision's reference training for segmentation (github.com/pytorch/vision/tree/main/references/segmentation), on the
CPU: its SGD (rate 0.01, momentum 0.9, weight decay 0.0001), its schedule (polynomial, power 0.9, by step), its cross
entropy and its random sizes (0.5 to 2 times, then cut or padded to the image's side). The network is that of this
project's default, SqueezeNet 1.1 with a feature pyramid, from the same weights, on the same scenes of digits, which are
not mirrored. SGD learns little within its few steps here, so there is AdamW too (--adamw).
"""

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import models

from scripts.plain_loop import peak_memory_mib
from src.data.formats.digit_scene import PIXELS, digit_sides, draw_scene, pools, shared_out
from src.data.formats.digit_scenes import digit_classes
from src.models.segmentation_heads import pyramid

WEIGHTS = Path(__file__).parents[1] / "src" / "assets" / "squeezenet1_1_imagenet.safetensors"
SCENES, SIDE_PX, CLASSES, VOID = 500, 128, 11, 255
MEAN, STD = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
BATCH_SIZE = 8


class Scenes(Dataset[tuple[Tensor, Tensor]]):
    """Images float [3, S, S], normalised, with classes int64 [S, S]; scenes are drawn once."""

    def __init__(self, split: str) -> None:
        self.changes = split == "train"
        digits, sides = digit_classes(), digit_sides(PIXELS, SIDE_PX)
        self.items = []
        for number in shared_out(SCENES)[split].tolist():
            scene = draw_scene(number, pools(SCENES)[number], SIDE_PX, sides)
            ids = np.concatenate([[0], 1 + digits[scene.digits]]).astype(np.uint8)
            self.items.append((Image.fromarray(scene.pixels), Image.fromarray(ids[scene.instances])))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = self.items[index]
        if self.changes:
            side = random.randint(SIDE_PX // 2, SIDE_PX * 2)
            image = image.resize((side, side), Image.Resampling.BILINEAR)
            mask = mask.resize((side, side), Image.Resampling.NEAREST)
            left, top = (random.randint(0, max(side - SIDE_PX, 0)) for _ in range(2))
            image = image.crop((left, top, left + min(side, SIDE_PX), top + min(side, SIDE_PX)))
            mask = mask.crop((left, top, left + min(side, SIDE_PX), top + min(side, SIDE_PX)))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        pixels = (pixels - MEAN[:, None, None]) / STD[:, None, None]
        short = SIDE_PX - pixels.shape[-1]
        classes = F.pad(torch.from_numpy(np.array(mask)), (0, short, 0, short), value=VOID)
        return F.pad(pixels, (0, short, 0, short)), classes.long()


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    coarse: Tensor = model(images)[0]
    return F.interpolate(coarse, size=images.shape[-2:], mode="bilinear", align_corners=False)


@torch.no_grad()
def mean_iou(model: nn.Module, loader: DataLoader[Any]) -> float:
    model.eval()
    confusion = torch.zeros(CLASSES, CLASSES)
    for images, classes in loader:
        pairs = classes * CLASSES + logits_of(model, images).argmax(dim=1)
        confusion += torch.bincount(pairs.flatten(), minlength=CLASSES**2).view(CLASSES, CLASSES)
    right = confusion.diagonal()
    return float((right / (confusion.sum(dim=0) + confusion.sum(dim=1) - right)).mean())


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Train, print a line per epoch, and return what was measured: wall-clock times in seconds."""
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    loaders = {
        split: DataLoader(Scenes(split), BATCH_SIZE, shuffle=split == "train") for split in ("train", "val", "test")
    }
    net = models.squeezenet1_1()
    net.load_state_dict(load_file(WEIGHTS))
    model = pyramid(net, "squeezenet1_1", SIDE_PX, CLASSES).net
    optimizer: optim.Optimizer = optim.SGD(model.parameters(), lr=options.lr, momentum=0.9, weight_decay=1e-4)
    if options.adamw:
        optimizer = optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    steps = options.epochs * len(loaders["train"])
    schedule = optim.lr_scheduler.PolynomialLR(optimizer, total_iters=steps, power=0.9)
    measured: dict[str, Any] = {"epochs": [], "fit_start": time.time()}
    epoch_start = measured["fit_start"]
    for epoch in range(options.epochs):
        model.train()
        for images, classes in loaders["train"]:
            loss: Any = F.cross_entropy(logits_of(model, images), classes, ignore_index=VOID)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        miou = mean_iou(model, loaders["val"])
        print(f"epoch {epoch + 1}/{options.epochs}  val/miou {miou:.4f}", flush=True)
        now = time.time()
        measured["epochs"].append({"seconds": now - epoch_start, "val/miou": miou})
        epoch_start = now
    measured["fit_end"] = time.time()
    measured["test/miou"] = mean_iou(model, loaders["test"])
    return {**measured, **peak_memory_mib()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0, help="of the new layers, the order and the random sizes")
    parser.add_argument("--lr", type=float, default=0.01, help="of SGD")
    parser.add_argument("--adamw", action="store_true", help="instead of SGD, with rate 0.001 and decay 0.05")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    options = parser.parse_args()
    measured = train(options)
    print(f"test/miou {measured['test/miou']:.4f}")
    if options.json:
        options.json.write_text(json.dumps(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
