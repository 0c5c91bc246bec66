"""The same boxes as COCO json, YOLO txt and Pascal VOC xml: one table; and what their modules do with settings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from src.data.boxes import Boxes
from src.data.formats.boxes import BoxDataModule
from src.data.formats.coco import CocoDataModule
from src.data.formats.voc import VocDataModule
from src.data.formats.yolo import YoloDataModule
from src.models.preprocessing import Preprocessing
from src.settings.errors import ConfigError
from src.settings.nodes import Augmentation
from src.settings.project import PROJECT_ROOT

WIDTH, HEIGHT, IMAGES = 40, 20, 8
CORNERS = [4, 2, 24, 12]  # x2 and y2 exclusive
SETTINGS: dict[str, Any] = {
    "batch_size": 2, "num_workers": 0, "augmentation": Augmentation(), "seed": 0, "targets": "boxes",
    "preprocessing": Preprocessing(36, 32, "bilinear", (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)),
}  # fmt: skip
FORMATS: dict[str, type[BoxDataModule]] = {"coco": CocoDataModule, "yolo": YoloDataModule, "voc": VocDataModule}
NAMES = ("dog", "cat")


def write(root: Path, kind: str) -> None:
    """A dog in every image but the last, and a cat in every second one."""
    folder = root / {"coco": "images", "yolo": "images", "voc": "JPEGImages"}[kind]
    folder.mkdir(parents=True)
    for i in range(IMAGES):
        Image.new("RGB", (WIDTH, HEIGHT), (i, 0, 0)).save(folder / f"{i}.png")
    of_image = [[] if i == IMAGES - 1 else [0, 1] if i % 2 == 0 else [0] for i in range(IMAGES)]
    x1, y1, x2, y2 = CORNERS
    if kind == "coco":
        boxes = [{"image_id": i, "category_id": k * 5, "bbox": [x1, y1, x2 - x1, y2 - y1]}
                 for i, found in enumerate(of_image) for k in found]  # fmt: skip
        images = [{"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT} for i in range(IMAGES)]
        content = {"images": images, "annotations": boxes,
                   "categories": [{"id": k * 5, "name": name} for k, name in enumerate(NAMES)]}  # fmt: skip
        (root / "all.json").write_text(json.dumps(content), encoding="utf-8")
        return
    labels = root / {"yolo": "labels", "voc": "Annotations"}[kind]
    labels.mkdir()
    if kind == "yolo":
        (root / "data.yaml").write_text("names: [dog, cat]\n", encoding="utf-8")
    for i, found in enumerate(of_image):
        if kind == "yolo":
            line = f"{(x1 + x2) / 2 / WIDTH} {(y1 + y2) / 2 / HEIGHT} {(x2 - x1) / WIDTH} {(y2 - y1) / HEIGHT}"
            (labels / f"{i}.txt").write_text("\n".join(f"{k} {line}" for k in found), encoding="utf-8")
        else:
            box = f"<bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>"
            objects = "".join(f"<object><name>{NAMES[k]}</name>{box}</object>" for k in found)
            (labels / f"{i}.xml").write_text(f"<annotation>{objects}</annotation>", encoding="utf-8")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_boxes(tmp_path: Path, kind: str) -> None:
    write(tmp_path, kind)
    table = FORMATS[kind](root=str(tmp_path), **SETTINGS).table
    boxes = table.targets
    assert isinstance(boxes, Boxes) and sorted(boxes.names) == sorted(NAMES) and len(table) == IMAGES
    np.testing.assert_allclose(boxes.boxes_xyxy, [CORNERS] * 11, atol=1e-5)
    assert boxes.values[:, 1].tolist() == [2, 1, 2, 1, 2, 1, 2, 0] and boxes.values[0, 2:].tolist() == [WIDTH, HEIGHT]
    assert set(table.splits) == {"train", "val", "test"}
    dropped = FORMATS[kind](root=str(tmp_path), without_boxes="drop", **SETTINGS).table
    assert sum(map(len, dropped.splits.values())) == IMAGES - 1


@pytest.mark.parametrize("kind", FORMATS)
def test_mistakes_stop_also_after_they_were_skipped_and_kept(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "data", kind)
    file = {"coco": "all.json", "yolo": "labels/0.txt", "voc": "Annotations/0.xml"}[kind]
    path = tmp_path / "data" / file
    content = path.read_text(encoding="utf-8")
    path.write_text(
        content.replace('"image_id": 0', '"image_id": 99') if kind == "coco" else content[:-9] + "<", encoding="utf-8"
    )
    settings = {**SETTINGS, "root": str(tmp_path / "data"), "cache": "auto", "cache_dir": str(tmp_path / "cache")}
    for _ in range(2):
        assert "left out" in "".join(FORMATS[kind](**settings).table.notes)
    with pytest.raises(ConfigError, match=r"data\.on_error=fail"):
        _ = FORMATS[kind](**settings, on_error="fail").table


def test_a_changed_yaml_outside_the_root_is_read_anew(tmp_path: Path) -> None:
    write(tmp_path / "data", "yolo")
    yaml = tmp_path / "other.yaml"
    settings = {**SETTINGS, "root": str(tmp_path / "data"), "cache": "auto", "cache_dir": str(tmp_path / "cache")}
    for names in ("[dog, cat]", "[wolf, lynx]"):
        yaml.write_text(f"names: {names}\n", encoding="utf-8")
        found = YoloDataModule(file=str(yaml), **settings).table.class_names
    assert found == ["wolf", "lynx"]


@pytest.mark.parametrize("kind", FORMATS)
def test_the_options_name_settings_that_exist(tmp_path: Path, kind: str) -> None:
    write(tmp_path, kind)
    settings = OmegaConf.merge(*(OmegaConf.load(PROJECT_ROOT / f"conf/data/{name}.yaml") for name in ("folder", kind)))
    settings.pop("defaults")
    settings.root = str(tmp_path)
    more = {key: SETTINGS[key] for key in ("preprocessing", "augmentation", "seed", "targets")}
    assert type(instantiate(settings, cache="none", **more, _convert_="object")) is FORMATS[kind]
