"""data=folder: which folders are splits and which are classes, what is read, what is refused and what is said."""

import os
import shutil
import unicodedata
from pathlib import Path

import pytest
from conftest import COLORS, paint

from src.data.folders.layout import find_layout
from src.data.folders.split_names import split_and_rest
from src.data.folders.walk import walk
from src.data.formats.folder import ImageFolderDataModule
from src.models.preprocessing import Preprocessing
from src.settings.errors import ConfigError
from src.settings.nodes import Augmentation

PREPROCESSING = Preprocessing(36, 32, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
BOTH = ("cat", "dog")


def make(root: Path, *folders: str) -> Path:
    """Two files in each folder that are called images: layouts are read by names."""
    for name in folders:
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(2):
            (root / name / f"{i}.png").touch()
    return root


def in_each(*outer: str) -> list[str]:
    return [f"{name}/{label}" for name in outer for label in BOTH]


def folder(root: Path, known: list[str] | None = None) -> ImageFolderDataModule:
    settings = {"preprocessing": PREPROCESSING, "augmentation": Augmentation(), "known_classes": known}
    return ImageFolderDataModule(root=str(root), seed=0, batch_size=8, num_workers=0, **settings)


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (BOTH, {"all": "."}),
        (in_each("train", "dev", "test"), {"train": "train", "val": "dev", "test": "test"}),
        (in_each("TRAIN", "Valid", "hold-out"), {"train": "TRAIN", "val": "Valid", "test": "hold-out"}),
        (in_each("train_images", "val_images"), {"train": "train_images", "val": "val_images"}),
        (in_each("images_train", "images_test"), {"train": "images_train", "test": "images_test"}),
        (in_each("train2017", "val2017"), {"train": "train2017", "val": "val2017"}),
        (in_each("trainingSet/trainingSet"), {"train": "trainingSet/trainingSet"}),
        (
            [*in_each("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred"],
            {"train": "seg_train/seg_train", "test": "seg_test/seg_test"},
        ),
        (in_each("train/images", "test/images"), {"train": "train/images", "test": "test/images"}),
        (in_each("pets/train", "pets/test"), {"train": "pets/train", "test": "pets/test"}),
        (in_each("archive/pets"), {"all": "archive/pets"}),
        (["steam_train", "test_tube", "bus"], {"all": "."}),  # classes
        (["train", "bus"], {"all": "."}),
        (["__background__", "dog"], {"all": "."}),
        (["cat/cam1", "cat/cam2", "dog/cam1"], {"all": "."}),
        (["train/cat/cam1", "train/cat/cam2", "train/dog", "val/cat/a", "val/cat/b"], {"train": "train", "val": "val"}),
    ],
)  # fmt: skip
def test_layouts_that_are_understood(tmp_path: Path, folders: list[str], expected: dict[str, str]) -> None:
    layout = find_layout(make(tmp_path, *folders))
    assert {split: path.relative_to(tmp_path).as_posix() for split, path in layout.folders.items()} == expected


@pytest.mark.parametrize(
    ("folders", "texts"),
    [
        (["."], ["the images lie directly in {}, in no class folders"]),
        (["train", "test"], ["the images lie directly in train, test, which are names of splits", "{}/train/<class>"]),
        (["train_images", "test_images"], ["data.file='{}/labels.csv' data.root='{}/train_images'"]),
        (["train", "val", "bus"], ["names of splits and no classes"]),
        (in_each("test"), ["there is no train folder", "data.root='{}/test'"]),
        (in_each("train", "val", "valid"), ["val, valid", "all stand for val"]),
        ([*in_each("train"), *BOTH], ["beside it cat, dog", "data.root='{}/train'"]),
        (in_each("fold_1", "fold_2"), ["all hold the same folders (cat, dog)", "data.root='{}/fold_1'"]),
        (["cat/train", "cat/test", "dog/train", "dog/test"], ["the splits lie in the class folders", "train/cat"]),
        ([*in_each("a/train", "a/test"), "docs"], ["the splits lie one level deeper", "data.root='{}/a'"]),
    ],
)
def test_layouts_that_are_refused_with_the_way_out(tmp_path: Path, folders: list[str], texts: list[str]) -> None:
    make(tmp_path, *folders)
    if "train_images" in folders:
        (tmp_path / "labels.csv").write_text("path,label\n")
    with pytest.raises(ConfigError) as error:
        find_layout(tmp_path)
    for text in texts:
        assert text.replace("{}", str(tmp_path)) in str(error.value)


@pytest.mark.parametrize(
    ("folders", "note"),
    [
        (in_each("train", "dev"), "/dev is the val split"),
        (in_each("pets"), "read as data.root='{}/pets'"),
        ([*in_each("train", "test"), *BOTH], "left out, since they are no split of class folders: cat, dog"),
        ([*in_each("train"), "test"], "left out, since they are no split of class folders: test"),
        (["train", "bus"], "train is taken for a class"),
        (in_each("amazon", "dslr", "webcam"), "taken for one class each: amazon (cat, dog) and 2 more"),
    ],
)
def test_what_is_chosen_or_left_out_is_said(tmp_path: Path, folders: list[str], note: str) -> None:
    notes = find_layout(make(tmp_path, *folders)).notes
    assert any(note.replace("{}", str(tmp_path)) in text for text in notes), notes


def test_a_trained_model_needs_no_train_split(tmp_path: Path) -> None:
    make(tmp_path, *in_each("set/test"))
    for root in (tmp_path, tmp_path / "set"):
        table = folder(root, ["bird", "cat", "dog"]).table
        assert {split: len(rows) for split, rows in table.splits.items()} == {"test": 4}
        assert table.labels.tolist() == [1, 1, 2, 2]
    assert list(find_layout(tmp_path / "set" / "test", {"cat", "dog"}).folders) == ["all"]
    make(tmp_path / "more", *in_each("cat"))
    assert find_layout(tmp_path / "more", {"cat", "dog"}).folders == {"all": tmp_path / "more" / "cat"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Train", ("train", "")), ("train_2017", ("train", "")), ("TrainingSet", ("train", "")),
        ("hold out", ("test", "")), ("seg_train", ("train", "seg")), ("trains", (None, "trains")),
        ("train_test", (None, "train_test")), ("Müller", (None, "Müller")),
    ],
)  # fmt: skip
def test_names_of_splits(name: str, expected: tuple[str | None, str]) -> None:
    assert split_and_rest(name) == expected


def test_links_are_followed_once_and_hidden_folders_are_not_read(tmp_path: Path) -> None:
    make(tmp_path, "store/cam1", "set/cat", "set/cat/.thumbnails", "set/cat/@eaDir", "set/cat/deeper")
    cat = tmp_path / "set" / "cat"
    (cat / "a_link").symlink_to(tmp_path / "store")
    (cat / "another").symlink_to(cat / "deeper")
    (cat / "loop").symlink_to(tmp_path / "set")
    (cat / "gone.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "store" / "up").symlink_to(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(cat / "pipe.png")
    images, left_out = walk(cat)
    assert images == [
        "0.png", "1.png", "gone.png", "a_link/cam1/0.png", "a_link/cam1/1.png", "deeper/0.png", "deeper/1.png"
    ]  # fmt: skip
    names = {kind: sorted(Path(path).name for path in paths) for kind, paths in left_out.paths.items()}
    assert names.pop("special", ["pipe.png"]) == ["pipe.png"]
    assert names == {
        "hidden": [".thumbnails", "@eaDir"], "circle": ["loop", "up"], "twice": ["another"], "broken": ["gone.png"]
    }  # fmt: skip
    assert any("1 links lead nowhere" in note and "gone.png" in note for note in left_out.notes())


def test_linked_images_are_trained_on(tmp_path: Path) -> None:
    make(tmp_path, "store/cam1", "set/cat", "set/dog")
    (tmp_path / "set" / "cat" / "cam1").symlink_to(tmp_path / "store" / "cam1")
    (tmp_path / "set" / "bird").symlink_to(tmp_path / "store")
    (tmp_path / "set" / "lost").symlink_to(tmp_path / "nowhere")
    (tmp_path / "set" / "loop").symlink_to(tmp_path)
    data = folder(tmp_path / "set", ["bird", "cat", "dog"])
    assert len(data.table) == 8 and data.table.labels.tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    notes = "\n".join(data.table.notes)
    assert "set/lost" in notes and "set/loop" in notes


def test_two_splits_in_one_folder_are_refused(tmp_path: Path) -> None:
    make(tmp_path, *in_each("train"))
    (tmp_path / "val").symlink_to("train")
    with pytest.raises(ConfigError, match="are links to the same folder"):
        folder(tmp_path).table  # noqa: B018


def test_a_split_without_images(tmp_path: Path) -> None:
    make(tmp_path, *in_each("train"))
    (tmp_path / "test").mkdir()
    assert any("test has no images: ignored" in note for note in find_layout(tmp_path).notes)
    (tmp_path / "val" / "cat").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"no images in .*val\. Remove it to have val cut from train"):
        find_layout(tmp_path)


def test_images_in_no_class_folder_are_named(tmp_path: Path) -> None:
    make(tmp_path, *in_each("train", "val", "test"), "train")
    assert any("2 images lie in no class folder" in note for note in folder(tmp_path).table.notes)


def test_one_class_in_two_ways_of_unicode(tmp_path: Path) -> None:
    one, other = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    make(tmp_path, f"train/{one}", "train/bar", f"val/{other}", "val/bar")
    data = folder(tmp_path)
    assert data.table.class_names == ["bar", one] and f"val/{other}/0.png" in data.table.paths.tolist()
    make(tmp_path, f"train/{other}")
    if len(list((tmp_path / "train").iterdir())) == 3:  # not on file systems that take both for the same
        again = folder(tmp_path)
        assert again.table.class_names == ["bar", one] and any(
            "written in 2 ways" in note for note in again.table.notes
        )
    assert folder(tmp_path, ["bar", other]).table.class_names == ["bar", other]  # as the model calls them


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_that_are_not_utf8_are_left_out_and_named(tmp_path: Path, command) -> None:
    root = tmp_path / "set"
    for seed, color in enumerate(COLORS):
        paint(root / color, color, 12, seed)
    image = next((root / "red").glob("*.png"))
    try:
        image.rename(root / "red" / "x\udcff.png")
        shutil.copytree(root / "blue", root / "b\udcfe")
    except OSError:
        pytest.skip("this file system has no such names")
    data = folder(root)
    assert len(data.table) == 35 and data.table.class_names == ["blue", "green", "red"]
    assert any("13 images are left out, since their names are not UTF-8" in note for note in data.table.notes)
    answer = command("check", "data=folder", f"data.root={root}", f"output={tmp_path}/check", "data.num_workers=0")
    assert "Traceback" not in answer.err and "b\\udcfe/" in answer.out


def test_check_and_train_refuse_what_is_on_the_wrong_level(colors: Path, tmp_path: Path, command) -> None:
    shutil.copytree(colors / "red", tmp_path / "set" / "train")
    shutil.copytree(colors / "blue", tmp_path / "set" / "test")
    for name, output in (("check", "output"), ("train", "output_dir")):
        answer = command(name, "data=folder", f"data.root={tmp_path}/set", f"{output}={tmp_path}/{name}")
        assert answer.status == 1 and "names of splits" in answer.err and "Traceback" not in answer.err


def test_a_wrapped_set_is_evaluated_on_its_test_split(colors: Path, colors_run, tmp_path: Path, command) -> None:
    shutil.copytree(colors / "red", tmp_path / "more" / "test" / "red")
    answer = command(
        "evaluate",
        f"ckpt={colors_run.directory}",
        "data=folder",
        f"data.root={tmp_path}",
        "accelerator=cpu",
        "data.num_workers=0",
    )
    assert answer.status == 0 and "on test: 20 images" in answer.err, answer.err
