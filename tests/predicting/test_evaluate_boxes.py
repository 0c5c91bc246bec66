"""src.evaluate on boxes of other data, in each format, by the names of the classes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Answer, Run
from support.scenes import POOL, write_scenes

from src.data.formats.digit_images import DIGITS_FILE
from src.data.formats.digit_scene import draw_scene

ORDER = ["9", "7", "5", "3", "2", "1", "0", "8"]  # neither all classes of the model, nor in its order
COUNT = 4


def true_boxes() -> list[list[tuple[list[float], str]]]:
    """Of each scene: corners and class, of the classes above."""
    labels = np.load(DIGITS_FILE)["labels"]
    scenes = [draw_scene(number, POOL, 64) for number in range(COUNT)]
    pairs = [zip(scene.boxes_xyxy.tolist(), labels[scene.digits].tolist(), strict=True) for scene in scenes]
    return [[(box, str(label)) for box, label in one if str(label) in ORDER] for one in pairs]


def write_coco(root: Path, names: list[str]) -> None:
    images = [{"id": 5 * n, "file_name": f"{n}.png", "width": 64, "height": 64} for n in range(COUNT)]
    categories = [{"id": 3 * k + 4, "name": name} for k, name in enumerate(names)]
    found = [
        {"image_id": 5 * n, "category_id": 3 * ORDER.index(name) + 4, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for n, boxes in enumerate(true_boxes())
        for (x1, y1, x2, y2), name in boxes
    ]
    annotations = [{"id": i, "iscrowd": 0, "area": 1, **one} for i, one in enumerate(found)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "all.json").write_text(json.dumps(content))


def write_yolo(root: Path, names: list[str]) -> None:
    (root / "labels").mkdir()
    (root / "data.yaml").write_text(f"path: .\ntrain: images\nnames: {json.dumps(names)}\n")
    for n, boxes in enumerate(true_boxes()):
        lines = [
            f"{ORDER.index(name)} {(x1 + x2) / 128} {(y1 + y2) / 128} {(x2 - x1) / 64} {(y2 - y1) / 64}\n"
            for (x1, y1, x2, y2), name in boxes
        ]
        (root / "labels" / f"{n}.txt").write_text("".join(lines))


def write_voc(root: Path, names: list[str]) -> None:
    (root / "Annotations").mkdir()
    (root / "images").rename(root / "JPEGImages")
    size = "<size><width>64</width><height>64</height></size>"
    for n, boxes in enumerate(true_boxes()):
        objects = "".join(
            f"<object><name>{names[ORDER.index(name)]}</name><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for (x1, y1, x2, y2), name in boxes
        )
        xml = f"<annotation><filename>{n}.png</filename>{size}{objects}</annotation>"
        (root / "Annotations" / f"{n}.xml").write_text(xml)


FORMATS = {"coco": write_coco, "yolo": write_yolo, "voc": write_voc}


def evaluate(command: Any, run: Run, kind: str, root: Path) -> Answer:
    answer: Answer = command(
        "evaluate", f"ckpt={run.directory}", f"data={kind}", f"data.root={root}", "data.num_workers=0", "split=all",
        "accelerator=cpu", f"output={root}/m.json", "overwrite=true",
    )  # fmt: skip
    return answer


def test_every_format_is_measured_alike(scenes_run: Run, command: Any, tmp_path: Path) -> None:
    values = {}
    for kind, write in FORMATS.items():
        root = tmp_path / kind
        root.mkdir()
        write_scenes(root / "images", COUNT)
        write(root, ORDER)
        answer = evaluate(command, scenes_run, kind, root)
        assert answer.status == 0 and f"on all: {COUNT} images" in answer.err, answer.err
        values[kind] = json.loads((root / "m.json").read_text())
    assert values["coco"]["all/loss"] > 0 and values["coco"]["all/ar"] > 0
    assert values["yolo"] == pytest.approx(values["coco"], abs=1e-4, nan_ok=True)
    assert values["voc"] == pytest.approx(values["coco"], abs=1e-4, nan_ok=True)


@pytest.mark.parametrize("kind", FORMATS)
def test_unknown_classes_are_refused(scenes_run: Run, command: Any, tmp_path: Path, kind: str) -> None:
    write_scenes(tmp_path / "images", COUNT)
    FORMATS[kind](tmp_path, [f"digit {name}" if name == "7" else name for name in ORDER])
    answer = evaluate(command, scenes_run, kind, tmp_path)
    assert answer.status == 1 and "has classes that the model lacks: digit 7" in answer.err
