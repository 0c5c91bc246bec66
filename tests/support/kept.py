"""Settings under which features or resized images are kept, and what is kept."""

from pathlib import Path

from conftest import typed

from src.build.data import build_datamodule
from src.data.module import ImageDataModule

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


def data_of(images: Path, tmp_path: Path, *settings: str) -> ImageDataModule:
    cache = ["data.cache=images", f"data.cache_dir={tmp_path}/cache", "data.num_workers=0"]
    return build_datamodule(typed("data=folder", f"data.root={images}", "data.image_size_px=32", *cache, *settings))
