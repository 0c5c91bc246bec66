"""What images are labelled with: the three kinds, and that a kind which moves with the pixels would fit in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from src.data.dataset import Collate, ImageDataset
from src.data.samplers import mixed_seed
from src.data.table import ImageTable, string_column
from src.data.targets import Classes, Numbers, Rows, Tags, Targets
from src.data.transforms import Transform, evaluation_transform, training_transform
from src.models.preprocessing import Preprocessing
from src.settings.nodes import Augmentation
from src.settings.options import tasks_for

ALL = np.arange(4)
KINDS: dict[str, Targets] = {
    "classes": Classes(np.array([0, 1, 1, 2]), ["a", "b", "c"]),
    "tags": Tags(np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 1, 0]], dtype=np.uint8), ["a", "b", "c"]),
    "numbers": Numbers(np.array([[1, 2], [3, 5], [3, 4], [9, 8]], dtype=np.float32), ["age", "size"]),
}


@pytest.mark.parametrize(
    ("kind", "texts", "counts", "described"),
    [
        ("classes", ["a", "b", "b", "c"], [1, 2, 1], "Classes in train: b 2, c 1, a 1"),
        ("tags", ["a;c", "", "b", "b"], [1, 2, 1], "Classes in train: b 2, c 1, a 1"),
        (
            "numbers",
            ["1;2", "3;5", "3;4", "9;8"],
            None,
            "Targets in train: age 1 to 9, mean 4; size 2 to 8, mean 4.75",
        ),
    ],
)
def test_what_a_kind_says(kind: str, texts: list[str], counts: list[int] | None, described: str) -> None:
    targets = KINDS[kind]
    assert targets.kind == kind and len(targets) == 4 and [targets.text(row) for row in range(4)] == texts
    found = targets.counts(ALL)
    assert found is None if counts is None else found is not None and found.tolist() == counts
    assert targets.describe(ALL) == described
    part = targets.take(np.array([3, 0]))
    assert [part.text(row) for row in range(2)] == [texts[3], texts[0]] and part.names == targets.names
    assert targets.digest(ALL) != targets.digest(ALL[::-1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_has_the_targets_of_its_images_also_without_any(kind: str) -> None:
    targets = KINDS[kind]
    stacked = targets.stack([targets.sample(row) for row in (2, 0)])
    np.testing.assert_array_equal(stacked, targets.values[[2, 0]])
    none = targets.stack([])
    assert isinstance(none, np.ndarray) and none.shape == (0, *targets.values.shape[1:])
    assert none.dtype == targets.values.dtype


def test_copies_contradict_each_other() -> None:
    one, other = np.array([1, 1, 2]), np.array([1, 2, 3])
    assert KINDS["classes"].differ(one, other).tolist() == [False, False, True]
    assert KINDS["tags"].differ(one, other, near=True).tolist() == [False, True, False]
    assert KINDS["numbers"].differ(one, other).tolist() == [False, True, True]
    assert not KINDS["numbers"].differ(one, other, near=True).any()  # nearly the same image may measure otherwise
    for targets in KINDS.values():
        assert targets.differ(ALL[:0], ALL[:0]).shape == (0,)


def test_numbers_are_spread_by_ranges_of_the_first() -> None:
    numbers = Numbers(np.arange(200, dtype=np.float32)[:, None] * [1, -1], ["up", "down"])
    strata_N = numbers.strata(np.arange(200))
    assert strata_N.dtype == np.int64 and np.bincount(strata_N).tolist() == [20] * 10


class Boxes:
    """What a kind of boxes needs: each image has some, which move with its pixels."""

    kind, noun, names = "boxes", "classes", ["thing"]

    def __init__(self, begins: Sequence[int], boxes_xyxy: npt.NDArray[np.float32], size_px: tuple[int, int]) -> None:
        self.begins, self.values, self.size_px = begins, boxes_xyxy, size_px

    def take(self, rows: Rows) -> "Boxes":
        return Boxes([0], self.values[:0], self.size_px) if not len(rows) else self

    def sample(self, row: int) -> dict[str, Any]:
        boxes = torch.from_numpy(self.values[self.begins[row] : self.begins[row + 1]])
        mask = np.zeros(self.size_px, dtype=np.uint8)
        for left, top, right, bottom in boxes.int().tolist():
            mask[top:bottom, left:right] = 1
        moved = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=self.size_px)  # type: ignore[call-overload]
        return {"boxes": moved, "mask": tv_tensors.Mask(torch.from_numpy(mask)), "labels": torch.zeros(len(boxes))}

    def stack(self, samples: Sequence[Any]) -> list[Any]:
        return list(samples)


PLACES = {"crop": [0, 0, 16, 32], "fit": [8, 8, 16, 24], "stretch": [8, 0, 16, 32]}
AUGMENTED = Augmentation(crop_scale_min=0.5, horizontal_flip=0.5, rotation_degrees=10, color_jitter=0.4, erasing=0.1)


@pytest.mark.parametrize("mode", PLACES)
@pytest.mark.parametrize("augmentation", [None, Augmentation(), Augmentation(horizontal_flip=1.0), AUGMENTED])
def test_boxes_and_masks_move_with_their_image(mode: str, augmentation: Augmentation | None, tmp_path: Path) -> None:
    """A white box on black: afterwards box, mask and white pixels are still in one place; one that is lost is empty."""
    pixels = np.zeros((40, 80, 3), dtype=np.uint8)
    pixels[:, 20:40] = 255
    Image.fromarray(pixels).save(tmp_path / "0.png")
    boxes = Boxes([0, 1, 3], np.array([[20, 0, 40, 40]] * 3, dtype=np.float32), (40, 80))
    table = ImageTable(string_column(["0.png", "0.png"]), boxes, {}, root=tmp_path)  # type: ignore[arg-type]
    preprocessing = Preprocessing(32, 32, "bilinear", (0, 0, 0), (1, 1, 1), mode)
    transform: Transform = evaluation_transform(preprocessing)
    if augmentation is not None:
        transform = training_transform(preprocessing, augmentation)
    dataset = ImageDataset(table, np.arange(2), transform, seed=0, substitute=False)
    collate = Collate(32, boxes)  # type: ignore[arg-type]
    batch = collate(dataset.__getitems__([(0, 0), (0, 1)]))
    assert batch["image"].shape == (2, 3, 32, 32) and batch["image"].dtype == torch.uint8
    assert [len(target["boxes"]) for target in batch["label"]] == [1, 2]
    for image_CHW, target in zip(batch["image"], batch["label"], strict=True):
        assert target["mask"].shape == (32, 32) and target["boxes"].canvas_size == (32, 32)
        if augmentation is None:
            assert target["boxes"][0].tolist() == PLACES[mode]
        if augmentation is None or augmentation != AUGMENTED:
            bright = (image_CHW.float().mean(dim=0) > 127).to(torch.uint8)
            assert (bright != target["mask"]).float().mean() < 0.05
            left, top, right, bottom = target["boxes"][0].round().int().tolist()
            inside = torch.zeros(32, 32, dtype=torch.uint8)
            inside[top:bottom, left:right] = 1
            assert (bright != inside).float().mean() < 0.05
    assert collate([{"unreadable": []}])["label"] == []


def test_images_of_different_sizes_are_listed() -> None:
    images = [torch.zeros(3, side, 8, dtype=torch.uint8) for side in (8, 9)]
    batch = Collate(8, KINDS["classes"])([{"image": i, "label": 0, "index": 0, "unreadable": []} for i in images])
    assert [image.shape[1] for image in batch["image"]] == [8, 9] and batch["label"].tolist() == [0, 0]


def test_one_way_of_mixing_seeds() -> None:
    """The numbers that runs have had so far: a resumed run goes on with them."""
    assert mixed_seed(3, 7) == 3 * 1_000_003 + 7
    assert mixed_seed(1, 2, 3) == (1_000_003 + 2) * 1_000_003 + 3
    assert mixed_seed(2**32, 2**32, 2**32) < 2**63


def test_messages_name_the_tasks_that_there_are() -> None:
    assert tasks_for("tags") == "task=multilabel"
    assert tasks_for("tags", "numbers") == "task=multilabel or task=regression"
