"""The loop that one would write by hand, which scripts/benchmark.py measures this project against.

    python scripts/plain_loop.py DATA_ROOT --epochs 25 --seed 0 [--head-only] [--channels-last] [--json out.json]

PyTorch's transfer-learning tutorial (pytorch.org/tutorials/beginner/transfer_learning_tutorial.html) with its
transforms, SGD and schedule, on the CPU, and with three things changed: SqueezeNet 1.1 with the weights of this
repository; batches of 32, read by two processes; and these processes live through the whole training instead of being
started anew in every epoch, which is faster. DATA_ROOT has train/<class>/ and val/<class>/.
"""

import argparse
import json
import multiprocessing
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms

WEIGHTS = Path(__file__).parents[1] / "src" / "assets" / "squeezenet1_1_imagenet.safetensors"
BATCH_SIZE, WORKERS = 32, 2

NORMALIZE = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
TRANSFORMS = {
    "train": transforms.Compose(
        [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(), NORMALIZE]
    ),
    "val": transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), NORMALIZE]),
}


def build_model(num_classes: int, head_only: bool) -> nn.Module:
    """SqueezeNet 1.1 with pretrained weights and a new classifier, which is all that trains with `head_only`."""
    model = models.squeezenet1_1()
    model.load_state_dict(load_file(WEIGHTS))
    if head_only:
        model.requires_grad_(False)
    model.classifier[1] = nn.Conv2d(512, num_classes, kernel_size=1)
    network: nn.Module = model
    return network


@torch.no_grad()
def accuracy(model: nn.Module, loader: DataLoader[Any], memory_format: torch.memory_format) -> float:
    """Share of the images whose class is the one with the highest score, 0..1."""
    model.eval()
    correct = count = 0
    for images, labels in loader:
        outputs = model(images.to(memory_format=memory_format))
        correct += int((outputs.argmax(dim=1) == labels).sum())
        count += len(labels)
    return correct / count


def peak_memory_mib() -> dict[str, float]:
    """Most memory that this process, and the largest of its living worker processes, ever had at once (Linux only)."""

    def peak(pid: int | str) -> float:
        found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0

    workers = [peak(process.pid) for process in multiprocessing.active_children() if process.pid is not None]
    return {"main_mib": peak("self"), "worker_mib": max(workers, default=0.0)}


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Train, print a line per epoch, and return what was measured: wall-clock times in seconds."""
    torch.manual_seed(options.seed)
    memory_format = torch.channels_last if options.channels_last else torch.contiguous_format
    folders = {
        split: datasets.ImageFolder(options.data_root / split, TRANSFORMS[split], allow_empty=True)
        for split in TRANSFORMS
    }
    loaders = {
        split: DataLoader(folder, BATCH_SIZE, shuffle=split == "train", num_workers=WORKERS, persistent_workers=True)
        for split, folder in folders.items()
    }
    model = build_model(len(folders["train"].classes), options.head_only).to(memory_format=memory_format)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3, momentum=0.9)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)

    measured: dict[str, Any] = {"fit_start": time.time(), "first_step": None, "epochs": []}
    epoch_start = measured["fit_start"]
    best_accuracy = -1.0
    with tempfile.TemporaryDirectory() as folder:
        for epoch in range(options.epochs):
            model.train()
            waited = loss_sum = 0.0
            steps = count = 0
            train_start = ready = time.time()
            for images, labels in loaders["train"]:
                waited += time.time() - ready
                measured["first_step"] = measured["first_step"] or time.time()
                optimizer.zero_grad()
                loss = criterion(model(images.to(memory_format=memory_format)), labels)
                loss.backward()
                optimizer.step()
                loss_sum += loss.item() * len(labels)
                steps, count, ready = steps + 1, count + len(labels), time.time()
                if steps == options.limit_train_batches:
                    break
            scheduler.step()
            val_start = time.time()
            val_accuracy = accuracy(model, loaders["val"], memory_format)
            val_end = time.time()
            if val_accuracy > best_accuracy:
                best_accuracy = val_accuracy
                torch.save(model.state_dict(), Path(folder) / "best.pt")
            print(f"epoch {epoch + 1}/{options.epochs}  loss {loss_sum / count:.4f}  val/acc {val_accuracy:.4f}")
            now = time.time()
            measured["epochs"].append({
                "seconds": now - epoch_start, "train_seconds": val_start - train_start, "waited_seconds": waited,
                "val_seconds": val_end - val_start, "steps": steps, "images": count, "val/acc": val_accuracy,
            })  # fmt: skip
            epoch_start = now
        model.load_state_dict(torch.load(Path(folder) / "best.pt", weights_only=True))
    return {**measured, "fit_end": time.time(), **peak_memory_mib()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_root", type=Path, help="with train/<class>/ and val/<class>/")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0, help="of the new classifier, the order and the augmentation")
    parser.add_argument("--head-only", action="store_true", help="train the new classifier alone")
    parser.add_argument("--channels-last", action="store_true", help="compute in the channels-last memory layout")
    parser.add_argument("--limit-train-batches", type=int, help="end each epoch after so many batches")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    options = parser.parse_args()
    measured = train(options)
    if options.json:
        options.json.write_text(json.dumps(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
