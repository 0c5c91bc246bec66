"""Masks of files in a training, and other ones on which its model is measured."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Answer, run_train
from PIL import Image
from support.mask_folders import Mask, mask_of, write_pair

SIZE_WH = (64, 48)


def write(root: Path, count: int, first: int, value_of: list[int], table: str) -> Path:
    def as_file(mask_HW: Mask) -> Image.Image:
        return Image.fromarray(np.array(value_of, dtype=np.uint8)[mask_HW])

    for number in range(first, first + count):
        pair = root / f"images/{number}.png", root / f"masks/{number}.png"
        write_pair(*pair, mask_of(number, SIZE_WH), as_file)
    (root / "classes.yaml").write_text(table)
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("masks")
    data = write(root / "data", 16, 0, [0, 1, 255], "ground: 0\nroad: 1\nvoid: 9\n")
    return run_train(
        root / "run", "task=segmentation", "data=masks", f"data.root={data}", "data.image_size_px=64",
        "data.num_workers=0", "data.cache=none", "trainer=cpu", "trainer.max_epochs=1", "logger=none",
    ).directory  # fmt: skip


def test_a_training(run: Path) -> None:
    rows = (run / "split.csv").read_text().splitlines()
    assert len(rows) == 17 and rows[1].split(",")[1].startswith("ground 9") and "road" in rows[1]
    log = (run / "train.log").read_text()
    assert "Values of the masks: 0 (ground) " in log and "; 255 " in log and " %, void." in log


def test_other_masks_count_by_name(command: Callable[..., Answer], run: Path, tmp_path: Path) -> None:
    """Also where they have other values."""
    same = write(tmp_path / "same", 6, 50, [0, 1, 255], "ground: 0\nroad: 1\n")
    other = write(tmp_path / "other", 6, 50, [7, 3, 255], "road: 3\nground: 7\n")
    unknown = write(tmp_path / "unknown", 6, 50, [0, 1, 2], "ground: 0\nroad: 1\ncar: 2\n")
    answers = [
        command("evaluate", f"ckpt={run}", "data=masks", f"data.root={root}", "split=all", "data.num_workers=0")
        for root in (same, other, unknown)
    ]
    numbers = [[line for line in answer.out.splitlines() if line.startswith("all/")] for answer in answers]
    assert answers[0].status == 0 and len(numbers[0]) > 3 and numbers[0] == numbers[1]
    assert answers[2].status == 1 and "classes that the model lacks: car" in answers[2].err
