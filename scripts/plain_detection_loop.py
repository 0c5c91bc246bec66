"""The loop that one would write by hand for boxes, which scripts/benchmark.py measures this project against.

    python -m scripts.plain_detection_loop VOC_ROOT --epochs 10 --seed 0 [--batch-size 2] [--json out.json]

PyTorch's tutorial for detection (pytorch.org/tutorials/intermediate/torchvision_tutorial.html), on the CPU: its SGD
(rate 0.005, momentum 0.9, weight decay 0.0005), its schedule (a warmup over the first epoch, then a tenth of the rate
every three epochs), its batches of two and its random mirroring; every image is decoded anew in each epoch. The network
is that of this project's default, SqueezeNet 1.1 with FCOS on a pyramid, from the same weights, and images have the
same size. VOC_ROOT has Annotations, JPEGImages and ImageSets/Main with train.txt, val.txt and test.txt.
"""

import argparse
import json
import random
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, Dataset
from torchmetrics.detection import MeanAveragePrecision
from torchvision import models
from torchvision.transforms.v2 import functional as F

from scripts.plain_loop import peak_memory_mib
from src.models.detection_heads import fcos
from src.models.detector import DetectorNetwork
from src.models.preprocessing import Preprocessing

WEIGHTS = Path(__file__).parents[1] / "src" / "assets" / "squeezenet1_1_imagenet.safetensors"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WARMUP_STEPS = 1000  # at most, of the first epoch
Item = tuple[Tensor, dict[str, Tensor]]


class VocImages(Dataset[Item]):
    """uint8 [3, H, W] of at most `size_px`, with `boxes` float32 [m, 4] and `labels` int64 [m] from 0."""

    def __init__(self, root: Path, split: str, names: list[str], size_px: int, mirrored: bool) -> None:
        self.root, self.names, self.size_px, self.mirrored = root, names, size_px, mirrored
        self.stems = (root / "ImageSets" / "Main" / f"{split}.txt").read_text().split()

    def __len__(self) -> int:
        return len(self.stems)

    def __getitem__(self, index: int) -> Item:
        stem = self.stems[index]
        image = Image.open(self.root / "JPEGImages" / f"{stem}.jpg").convert("RGB")
        boxes, labels = read_boxes(self.root / "Annotations" / f"{stem}.xml", self.names)
        scale = self.size_px / max(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        pixels_CHW, boxes = F.pil_to_tensor(image), boxes * scale
        if self.mirrored and random.random() < 0.5:
            pixels_CHW = pixels_CHW.flip(-1)
            boxes[:, [0, 2]] = image.width - boxes[:, [2, 0]]
        return pixels_CHW, {"boxes": boxes, "labels": labels}


def read_boxes(file: Path, names: list[str]) -> tuple[Tensor, Tensor]:
    """Without those that have no size, which torchvision refuses."""
    boxes, labels = [], []
    for one in ET.parse(file).getroot().iter("object"):
        x1, y1, x2, y2 = (float(one.findtext(f"bndbox/{key}") or 0) for key in ("xmin", "ymin", "xmax", "ymax"))
        if x2 > x1 and y2 > y1:
            boxes.append([x1 - 1, y1 - 1, x2, y2])
            labels.append(names.index(one.findtext("name") or ""))
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(labels, dtype=torch.int64)


def build_model(num_classes: int, size_px: int) -> DetectorNetwork:
    net = models.squeezenet1_1()
    net.load_state_dict(load_file(WEIGHTS))
    preprocessing = Preprocessing(size_px, size_px, "bilinear", MEAN, STD, "fit", keeps_shape=True)
    return DetectorNetwork(fcos(net, "squeezenet1_1", size_px, num_classes), preprocessing, True, 100)


@torch.no_grad()
def average_precision(model: nn.Module, loader: DataLoader[Any]) -> dict[str, float]:
    metric = MeanAveragePrecision(backend="faster_coco_eval")
    model.eval()
    for images, targets in loader:
        found = []
        for image, rows in zip(images, model(images), strict=True):
            kept = rows[rows[:, 5] >= 0]
            sides = torch.tensor([image.shape[2], image.shape[1]] * 2)
            found.append({"boxes": kept[:, :4] * sides, "scores": kept[:, 4], "labels": kept[:, 5].long()})
        metric.update(found, targets)
    values = metric.compute()
    return {"ap": float(values["map"]), "ap50": float(values["map_50"])}


def collate(items: list[Item]) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    images, targets = zip(*items, strict=True)
    return list(images), list(targets)


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Train, print a line per epoch, and return what was measured: wall-clock times in seconds."""
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    names = sorted({name for file in (options.voc_root / "Annotations").glob("*.xml") for name in names_in(file)})
    loaders = {
        split: DataLoader(
            VocImages(options.voc_root, split, names, options.size_px, split == "train"), options.batch_size,
            shuffle=split == "train", num_workers=options.workers, collate_fn=collate,
            persistent_workers=options.workers > 0,
        )
        for split in ("train", "val", "test")
    }  # fmt: skip
    memory_format = torch.channels_last if options.channels_last else torch.contiguous_format
    model = build_model(len(names), options.size_px).to(memory_format=memory_format)
    optimizer = optim.SGD(model.parameters(), lr=0.005, momentum=0.9, weight_decay=0.0005)
    schedule = optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.1)
    warmup_steps = min(WARMUP_STEPS, len(loaders["train"]) - 1)
    warmup = optim.lr_scheduler.LinearLR(optimizer, 1 / 1000, total_iters=warmup_steps)
    measured: dict[str, Any] = {"epochs": [], "fit_start": time.time(), "first_step": None}
    epoch_start = measured["fit_start"]
    for epoch in range(options.epochs):
        model.train()
        waited, steps, count = 0.0, 0, 0
        train_start = ready = time.time()
        for images, targets in loaders["train"]:
            waited += time.time() - ready
            measured["first_step"] = measured["first_step"] or time.time()
            losses = model.losses(images, targets)
            loss: Any = torch.stack(list(losses.values())).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if epoch == 0:
                warmup.step()
            steps, count, ready = steps + 1, count + len(images), time.time()
        schedule.step()
        val_start = time.time()
        val = average_precision(model, loaders["val"])
        print(f"epoch {epoch + 1}/{options.epochs}  val/ap {val['ap']:.4f}  val/ap50 {val['ap50']:.4f}")
        now = time.time()
        measured["epochs"].append({
            "seconds": now - epoch_start, "train_seconds": val_start - train_start, "waited_seconds": waited,
            "val_seconds": now - val_start, "steps": steps, "images": count,
            **{f"val/{name}": value for name, value in val.items()},
        })  # fmt: skip
        epoch_start = now
    measured["fit_end"] = time.time()
    measured |= {f"test/{name}": value for name, value in average_precision(model, loaders["test"]).items()}
    return {**measured, **peak_memory_mib()}


def names_in(file: Path) -> list[str]:
    return [one.findtext("name") or "" for one in ET.parse(file).getroot().iter("object")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("voc_root", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the new layers, the order and the mirroring")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--channels-last", action="store_true", help="compute in the channels-last memory layout")
    parser.add_argument("--size-px", type=int, default=320, help="longer side of the images")
    parser.add_argument("--workers", type=int, default=1, help="processes that read images")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    options = parser.parse_args()
    measured = train(options)
    print(f"test/ap {measured['test/ap']:.4f}  test/ap50 {measured['test/ap50']:.4f}")
    if options.json:
        options.json.write_text(json.dumps(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
