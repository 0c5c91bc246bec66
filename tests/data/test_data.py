import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import COLORS, paint, typed
from torchvision.transforms import v2

from src.build.data import build_datamodule
from src.data.decode import read_rgb
from src.data.formats.digits import DigitsDataModule
from src.data.formats.folder import ImageFolderDataModule
from src.data.module import ImageDataModule
from src.data.samplers import EpochSampler, seeded
from src.data.splits import stratified_cut
from src.data.transforms import evaluation_transform, training_transform
from src.models.preprocessing import Preprocessing
from src.settings.errors import ConfigError
from src.settings.nodes import Augmentation

PREPROCESSING = Preprocessing(36, 32, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
STRONG = Augmentation(crop_scale_min=0.3, horizontal_flip=0.5, color_jitter=0.4, policy="trivial", erasing=0.5)


def folder(root: Path, **settings) -> ImageFolderDataModule:
    defaults = {"batch_size": 8, "num_workers": 0, "augmentation": Augmentation()}
    return ImageFolderDataModule(root=str(root), preprocessing=PREPROCESSING, seed=0, **{**defaults, **settings})


def sizes(data: ImageDataModule) -> dict[str, int]:
    return {split: len(rows) for split, rows in data.table.splits.items()}


# ------------------------------------------------------------------------------------------------------------- splits


def test_one_root_is_cut_stratified_and_repeatably(colors: Path) -> None:
    data = folder(colors)
    assert data.table.class_names == ["blue", "green", "red"]
    assert sizes(data) == {"train": 42, "val": 9, "test": 9}
    for rows in data.table.splits.values():
        assert len(set(Counter(data.table.labels[rows].tolist()).values())) == 1
    everything = np.concatenate(list(data.table.splits.values()))
    assert sorted(everything) == list(range(60))
    again, other = folder(colors), folder(colors, split_seed=1)
    assert again.table.fingerprint() == data.table.fingerprint() != other.table.fingerprint()


@pytest.fixture
def with_folders(tmp_path: Path) -> Path:
    for split, count in {"train": 20, "val": 4, "test": 6}.items():
        for seed, color in enumerate(COLORS):
            paint(tmp_path / split / color, color, count, seed)
    return tmp_path


def test_split_folders_are_taken_as_they_are(with_folders: Path) -> None:
    assert sizes(folder(with_folders)) == {"train": 60, "val": 12, "test": 18}


@pytest.mark.parametrize("name", ["validation", "valid", "Val"])
def test_other_names_of_val(with_folders: Path, name: str) -> None:
    (with_folders / "val").rename(with_folders / name)
    assert sizes(folder(with_folders)) == {"train": 60, "val": 12, "test": 18}


def test_train_and_test_only_val_is_cut_from_train(with_folders: Path) -> None:
    shutil.rmtree(with_folders / "val")
    assert sizes(folder(with_folders, val_fraction=0.2)) == {"train": 48, "val": 12, "test": 18}


def test_train_and_val_only_nothing_is_taken_away(with_folders: Path) -> None:
    shutil.rmtree(with_folders / "test")
    data = folder(with_folders)
    assert sizes(data) == {"train": 60, "val": 12}
    assert any("There is no test split" in note for note in data.table.notes)
    asked = folder(with_folders, test_fraction=0.1)
    assert sizes(asked) == {"train": 54, "val": 12, "test": 6}


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    paint(tmp_path / "train", "red", 10, 0)
    paint(tmp_path / "bus", "blue", 10, 1)
    assert folder(tmp_path).table.class_names == ["bus", "train"]


def test_other_files_are_ignored_and_counted(with_folders: Path) -> None:
    (with_folders / "train" / "red" / "notes.txt").write_text("hello")
    (with_folders / "train" / "Thumbs.db").write_text("")
    (with_folders / "train" / "red" / "._0001.jpg").write_text("a resource fork")
    (with_folders / "train" / ".ipynb_checkpoints").mkdir()
    (with_folders / "train" / "red" / "deeper").mkdir()
    shutil.copy(
        next((with_folders / "train" / "red").glob("*.jpg")), with_folders / "train" / "red" / "deeper" / "x.JPG"
    )
    data = folder(with_folders)
    assert sizes(data)["train"] == 61 and len(data.table.class_names) == 3
    assert any("3 files that are no images ignored" in note for note in data.table.notes)


def test_folders_that_cannot_be_trained_on(tmp_path: Path, with_folders: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no images in"):
        folder(tmp_path / "empty").table  # noqa: B018
    paint(tmp_path / "one" / "red", "red", 3, 0)
    with pytest.raises(ConfigError, match=r"only one class folder with images, 'red'"):
        folder(tmp_path / "one").table  # noqa: B018
    paint(with_folders / "val" / "purple", "red", 3, 0)
    with pytest.raises(ConfigError, match=r"has classes that .*train lacks: purple"):
        folder(with_folders).table  # noqa: B018


def test_files_that_leave_a_class_empty_are_named(colors: Path, tmp_path: Path) -> None:
    shutil.copytree(colors / "red", tmp_path / "red")
    for name in ("blue/1.HEIC", "blue/2.heic", "green/one", "green/two", "green/three"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"'red'.* 5 files that are .*\(3 without an extension, 2 \.heic\)"):
        folder(tmp_path).table  # noqa: B018


def test_every_class_keeps_a_training_image() -> None:
    labels = np.array([0] * 10 + [1] * 2 + [2])
    parts = stratified_cut(labels, {"val": 0.4, "test": 0.4}, seed=0)
    assert set(labels[parts["train"]]) == {0, 1, 2}
    assert sorted(np.concatenate(list(parts.values()))) == list(range(13))


def test_few_images_still_give_a_val_split(tmp_path: Path) -> None:
    for seed, color in enumerate(COLORS):
        paint(tmp_path / "five" / color, color, 5, seed)
        paint(tmp_path / "two" / color, color, 2, seed)
    assert sizes(folder(tmp_path / "five")) == {"train": 9, "val": 3, "test": 3}
    with pytest.raises(ConfigError, match="val split is empty"):
        folder(tmp_path / "two").table  # noqa: B018


# --------------------------------------------------------------------------------------------------- damaged images


def test_a_damaged_training_image_is_replaced_and_a_damaged_val_image_left_out(with_folders: Path) -> None:
    victims = [next((with_folders / split / "red").glob("*.jpg")) for split in ("train", "val")]
    for victim in victims:
        victim.write_bytes(victim.read_bytes()[:200])
    data = folder(with_folders)
    trained = [batch for _ in range(2) for batch in data.train_dataloader()]
    assert sum(len(batch["label"]) for batch in trained) == 2 * 60
    named = {path for batch in trained for path, _ in batch["unreadable"]}
    assert named == {victims[0].relative_to(with_folders).as_posix()}
    validated = list(data.val_dataloader())
    assert sum(len(batch["label"]) for batch in validated) == 11
    assert sum(len(batch["unreadable"]) for batch in validated) == 1


def test_a_batch_with_nothing_readable_is_empty(with_folders: Path) -> None:
    for file in (with_folders / "val").rglob("*.*"):
        file.write_bytes(b"")
    batches = list(folder(with_folders, batch_size=4).val_dataloader())
    assert [tuple(batch["image"].shape) for batch in batches] == [(0, 3, 32, 32)] * 3


def test_on_error_fail_stops_before_the_first_step(with_folders: Path, tmp_path: Path, command) -> None:
    for split in ("train", "test"):
        victim = next((with_folders / split / "blue").glob("*.png"))
        victim.write_bytes(victim.read_bytes()[:100])
    arguments = ["data=folder", f"data.root={with_folders}", "data.on_error=fail", f"output_dir={tmp_path}/run"]
    answer = command("train", *arguments, "data.num_workers=0", "trainer=cpu")
    assert answer.status == 1 and "2 of 90 images cannot be read (data.on_error=fail):" in answer.err
    assert "test/blue/" in answer.err and "epoch" not in answer.err and "Traceback" not in answer.err
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_nothing_readable_at_all_is_told_before_training(with_folders: Path) -> None:
    for file in (with_folders / "train").rglob("*.*"):
        file.write_bytes(b"")
    with pytest.raises(ConfigError, match="None of the training images tried can be read"):
        folder(with_folders).require_readable()


# ---------------------------------------------------------------------------------------------- transforms and draws


def test_evaluation_pixels_are_those_of_torchvisions_preset(colors: Path) -> None:
    image = read_rgb(next(colors.rglob("*.png")))
    ours = evaluation_transform(PREPROCESSING)(image)
    theirs = v2.Compose([v2.Resize(36), v2.CenterCrop(32), v2.PILToTensor()])(image)
    assert ours.dtype == torch.uint8 and ours.shape == (3, 32, 32) and torch.equal(ours, theirs)


def test_no_augmentation_is_the_evaluation_transform(colors: Path) -> None:
    image = read_rgb(next(colors.rglob("*.png")))
    assert torch.equal(
        training_transform(PREPROCESSING, Augmentation())(image), evaluation_transform(PREPROCESSING)(image)
    )


@pytest.mark.parametrize("policy", ["trivial", "rand", "augmix"])
def test_augmentation_changes_images_and_follows_from_the_seed(colors: Path, policy: str) -> None:
    image = read_rgb(next(colors.rglob("*.png")))
    transform = training_transform(PREPROCESSING, Augmentation(0.3, 0.5, 0.5, 20, 0.4, policy, 0.5))

    def drawn(seed: int) -> torch.Tensor:
        with seeded(seed):
            return transform(image)

    assert drawn(1).shape == (3, 32, 32) and drawn(1).dtype == torch.uint8
    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))


def test_seeded_leaves_the_generator_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with seeded(1, 2, 3):
        torch.rand(7)
    assert torch.equal(torch.rand(3), expected)


def test_data_that_may_not_be_mirrored_or_cropped(colors: Path) -> None:
    data = folder(colors, augmentation=STRONG, mirror_safe=False, crop_safe=False)
    assert data.augmentation.horizontal_flip == 0 and data.augmentation.crop_scale_min is None
    assert data.augmentation.policy == "trivial"


def epoch_of(data: ImageDataModule, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    batches = list(loader)
    return torch.cat([b["image"] for b in batches]), torch.cat([b["index"] for b in batches])


def test_what_training_sees_depends_on_the_epoch_alone(colors: Path) -> None:
    """Not on the worker processes, nor on the epochs before: that is what makes a resumed run exact."""
    images, order = epoch_of(folder(colors, augmentation=STRONG), 3)
    other_images, other_order = epoch_of(folder(colors, augmentation=STRONG, num_workers=2), 3)
    assert torch.equal(order, other_order) and torch.equal(images, other_images)
    next_images, next_order = epoch_of(folder(colors, augmentation=STRONG), 4)
    assert not torch.equal(order, next_order) and sorted(order.tolist()) == sorted(next_order.tolist())
    assert not torch.equal(images, next_images)


@pytest.mark.parametrize("size", [9, 10, 1])
def test_sampler_shares_images_out_among_processes(size: int) -> None:
    training = [list(EpochSampler(size, True, 0, 2, rank, 3)) for rank in range(3)]
    assert len({len(part) for part in training}) == 1 and len(training[0]) == len(EpochSampler(size, True, 0, 2, 0, 3))
    assert {position for part in training for _, position in part} == set(range(size))
    assert {epoch for part in training for epoch, _ in part} == {2}
    evaluation = [position for rank in range(3) for _, position in EpochSampler(size, False, 0, 0, rank, 3)]
    assert sorted(evaluation) == list(range(size))


def test_a_last_batch_of_one_is_dropped_in_training_only(colors: Path) -> None:
    data = folder(colors, batch_size=41)  # 42 images
    assert [len(batch["label"]) for batch in data.train_dataloader()] == [41]
    assert sum(len(batch["label"]) for batch in data.loader("train")) == 42


def test_digits() -> None:
    data = DigitsDataModule(
        preprocessing=PREPROCESSING, augmentation=Augmentation(), seed=0, batch_size=64, num_workers=0
    )
    assert sizes(data) == {"train": 1169, "val": 269, "test": 359}
    batch = next(iter(data.val_dataloader()))
    assert (
        batch["image"].shape == (64, 3, 32, 32) and batch["image"].max() > 240 and batch["label"].dtype == torch.int64
    )


def test_digits_for_a_model_that_counts_them_otherwise() -> None:
    """By name, as in folders and tables; a digit that the model does not know is refused."""

    def module(known: list[str] | None) -> DigitsDataModule:
        return DigitsDataModule(
            preprocessing=PREPROCESSING,
            augmentation=Augmentation(),
            seed=0,
            batch_size=64,
            num_workers=0,
            known_classes=known,
        )

    backwards = [*"9876543210", "none"]
    assert module(backwards).table.class_names == backwards
    np.testing.assert_array_equal(module(backwards).table.labels, 9 - module(None).table.labels)
    with pytest.raises(ConfigError, match="data=digits has classes that the model lacks: 2, 3, 4, 5, 6 and 3 more"):
        module(["0", "1"]).table  # noqa: B018


def test_split_csv(colors: Path, tmp_path: Path) -> None:
    folder(colors).write_split_csv(tmp_path / "split.csv")
    lines = (tmp_path / "split.csv").read_text().splitlines()
    assert lines[0] == "path,label,split" and len(lines) == 61
    assert all(line.split(",")[0].startswith(line.split(",")[1]) for line in lines[1:])


@pytest.mark.slow
def test_random_crops_of_another_size_than_evaluation(colors: Path, command, tmp_path: Path) -> None:
    """Training sees augment.crop_px, evaluation data.image_size_px; networks of one size are refused."""
    settings = ["data=folder", f"data.root={colors}", "data.image_size_px=64", "augment.crop_px=48"]
    datamodule = build_datamodule(typed(*settings, "data.num_workers=0"))
    assert next(iter(datamodule.train_dataloader()))["image"].shape[-2:] == (48, 48)
    assert next(iter(datamodule.val_dataloader()))["image"].shape[-2:] == (64, 64)
    for change, text in (
        ("data.image_size_px=40", "augment.crop_px=48 is larger than data.image_size_px=40"),
        ("augment=none", "augment.crop_px=48 is the side of random crops, and there are none"),
        ("backbone=vit_b_16", "vit_b_16 takes images of one size only, 64 here"),
        ("backbone=alexnet", "augment.crop_px=48 does not fit alexnet: it must be at least 63"),
    ):
        answer = command("train", *settings, change, "backbone.weights=null", f"output_dir={tmp_path}/x")
        assert answer.status == 1 and text in answer.err, answer.err


def test_a_split_has_an_image_for_each_process(colors: Path) -> None:
    """Else Lightning stops one process, and the others wait for it."""
    datamodule = build_datamodule(typed("data=folder", f"data.root={colors}", "data.image_size_px=32"))
    datamodule.require_images_for(9)
    with pytest.raises(ConfigError, match=r"The val split has 9 images for 10 processes: lower trainer\.devices"):
        datamodule.require_images_for(10)


def test_batches_have_images_of_similar_shapes_and_each_image_once() -> None:
    aspects_N = np.where(np.arange(100) % 2, 0.75, 1.5)
    plain = EpochSampler(100, True, seed=0, epoch=3)
    alike = [position for _, position in EpochSampler(100, True, 0, 3, shapes=(aspects_N, 10))]
    assert sorted(alike) == list(range(100)) and alike != [position for _, position in plain]
    mixed = [len(set(aspects_N[alike[start : start + 10]])) - 1 for start in range(0, 100, 10)]
    assert sum(mixed) <= 1  # of the ten batches one may have both
    ranks = [[p for _, p in EpochSampler(100, True, 0, 3, rank, 2, shapes=(aspects_N, 5))] for rank in range(2)]
    assert sorted(ranks[0] + ranks[1]) == list(range(100))
    both = [{*aspects_N[ranks[0][n : n + 5]], *aspects_N[ranks[1][n : n + 5]]} for n in range(0, 50, 5)]
    assert sum(len(shapes) - 1 for shapes in both) <= 1  # processes step with images of the same shapes
    other_epoch = [position for _, position in EpochSampler(100, True, 0, 4, shapes=(aspects_N, 10))]
    assert other_epoch != alike
