"""Settings under which features or resized images are kept, and what is kept."""

import shutil
from pathlib import Path
from typing import Any

import torch
from conftest import typed

from src.build.data import build_datamodule
from src.build.task import build_task
from src.data.module import ImageDataModule
from src.runs.run import TrainingRun
from src.tasks.classification.task import ClassificationTask

SMALL = (
    "data=folder",
    "data.image_size_px=32",
    "data.batch_size=16",
    "data.cache=auto",
    "freeze=head_only",
    "augment=none",
)


def entries(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").glob("*"))


def with_a_broken_image(colors: Path, folder: Path) -> Path:
    """A copy that may be damaged, with one broken image that was there before anything was kept."""
    shutil.copytree(colors, folder)
    (folder / "red" / "broken.png").write_bytes(b"no image")
    return folder


def data_of(images: Path, tmp_path: Path, *settings: str) -> ImageDataModule:
    cache = ["data.cache=images", f"data.cache_dir={tmp_path}/cache", "data.num_workers=0"]
    return build_datamodule(typed("data=folder", f"data.root={images}", "data.image_size_px=32", *cache, *settings))


def begun(tmp_path: Path, images: Path, *settings: str) -> tuple[ImageDataModule, ClassificationTask]:
    """As at the beginning of a phase that trains the head alone."""
    given = [*SMALL[:5], f"data.root={images}", f"data.cache_dir={tmp_path}/cache", "data.num_workers=0"]
    cfg = typed(*given, f"output_dir={tmp_path}", *settings)
    data = build_datamodule(cfg)
    task = build_task(ClassificationTask, TrainingRun(cfg), data)
    task.begin_phase(0, 0)
    task.trainer = FakeTrainer()  # type: ignore[assignment]
    return data, task


class FakeTrainer:
    """What the task asks a Trainer for when it computes features outside a fit."""

    precision = "32-true"

    class precision_plugin:  # noqa: N801
        @staticmethod
        def forward_context() -> Any:
            return torch.no_grad()
