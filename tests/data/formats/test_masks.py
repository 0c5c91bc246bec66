"""Data of images with masks: from files in each mode to class ids, and what is not trained on."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.mask_folders import SIZE_WH, Mask, image_of, mask_of, write_masks, write_pair

from src.data.formats.masks import MaskDataModule
from src.data.masks import Masks
from src.evaluation.pixels.confusion import VOID
from src.models.preprocessing import Preprocessing
from src.settings.errors import ConfigError
from src.settings.nodes import Augmentation

PREPROCESSING = Preprocessing(36, 32, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
RGB_OF = np.array([[0, 0, 0], [128, 64, 128], [7, 7, 200]], dtype=np.uint8)
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\ncar:7,7,200::\n"


def data(root: Path | str | None, **settings: Any) -> MaskDataModule:
    given = {"batch_size": 2, "num_workers": 0, "augmentation": Augmentation(), "seed": 0, "targets": "masks"}
    return MaskDataModule(root=root, preprocessing=PREPROCESSING, **{**given, "cache": "none", **settings})  # type: ignore[arg-type]


def masks_of(module: MaskDataModule) -> Masks:
    assert isinstance(module.table.targets, Masks)
    return module.table.targets


def notes_of(module: MaskDataModule) -> str:
    return "\n".join(module.table.notes)


def with_palette(mask_HW: Mask) -> Image.Image:
    """Colours that have nothing to do with the indices."""
    image = Image.fromarray(mask_HW).convert("L")
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    return image


def sixteen_bits(mask_HW: Mask) -> Image.Image:
    return Image.fromarray(mask_HW.astype(np.uint16) * 300)


def test_grey_masks_are_called_by_their_values(tmp_path: Path) -> None:
    module = data(write_masks(tmp_path))
    found = masks_of(module)
    assert found.names == ["0", "1", "2"] and module.table.paths.tolist()[:2] == ["images/00.png", "images/01.png"]
    for row in range(12):
        assert np.array_equal(found.mask(row), mask_of(row)) and found.size(row) == SIZE_WH
        assert found.pixels(np.array([row]))[0].tolist() == np.bincount(mask_of(row).reshape(-1)).tolist()
    assert "Values of the masks: 0 " in notes_of(module) and {"train", "val", "test"} == set(module.table.splits)


def test_of_many_values_the_first_are_told_and_255(tmp_path: Path) -> None:
    values = np.append(np.arange(119), 255).astype(np.uint8)
    notes = notes_of(
        data(write_masks(tmp_path, as_file=lambda mask_HW: Image.fromarray(np.resize(values, mask_HW.shape))))
    )
    told = next(line for line in notes.splitlines() if line.startswith("Values of the masks: "))
    assert told.count(" %") == 21 and "; 19 0.9 %; 255 0.8 %, void; and 99 more." in told


MODES: dict[str, tuple[Callable[[Mask], Image.Image], list[str], str]] = {
    "P": (with_palette, ["0", "1", "2"], ""),
    "I;16": (sixteen_bits, ["0", "300", "600"], ""),
    "I": (lambda mask_HW: Image.fromarray(mask_HW.astype(np.int32) * 70000), ["0", "70000", "140000"], ""),
    "grey RGB": (lambda mask_HW: Image.fromarray(mask_HW).convert("RGB"), ["0", "1", "2"], ""),
    "LA": (lambda mask_HW: Image.fromarray(mask_HW).convert("LA"), ["0", "1", "2"], ""),
    "RGB": (lambda mask_HW: Image.fromarray(RGB_OF[mask_HW]), ["background", "road", "car"], LABELMAP),
    "RGBA": (lambda mask_HW: Image.fromarray(RGB_OF[mask_HW]).convert("RGBA"), ["background", "road", "car"], LABELMAP),
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_same_masks(tmp_path: Path, mode: str) -> None:
    as_file, names, table = MODES[mode]
    suffix = "tiff" if mode == "I" else "png"
    for number in range(12):
        write_pair(tmp_path / f"images/{number}.jpg", tmp_path / f"masks/{number}.{suffix}", mask_of(number), as_file)
    if table:
        (tmp_path / "labelmap.txt").write_text(table)
    module = data(tmp_path)
    found = masks_of(module)
    assert found.names == names
    for row, path in enumerate(module.table.paths.tolist()):
        assert np.array_equal(found.mask(row), mask_of(int(Path(path).stem)))


@pytest.mark.parametrize("mode", ["1", "L"])
def test_two_values_are_background_and_foreground(tmp_path: Path, mode: str) -> None:
    """Masks of one bit are as those of bytes."""
    write_masks(tmp_path, as_file=lambda mask_HW: Image.fromarray((mask_HW > 0).astype(np.uint8) * 255).convert(mode))
    module = data(tmp_path)
    assert masks_of(module).names == ["background", "foreground"]
    assert np.array_equal(masks_of(module).mask(3), mask_of(3) > 0)
    assert "read as two classes, background and foreground" in notes_of(module)
    with pytest.raises(ConfigError, match="its masks show only one class, '0'"):
        _ = data(tmp_path, ignore_values=[255]).table


def test_one_bit_masks_have_the_values_of_a_table_that_names_1(tmp_path: Path) -> None:
    write_masks(tmp_path, as_file=lambda mask_HW: Image.fromarray(mask_HW > 0))
    (tmp_path / "classes.yaml").write_text("ground: 0\nhouse: 1\n")
    assert masks_of(data(tmp_path)).names == ["ground", "house"]


def test_255_is_void(tmp_path: Path) -> None:
    """Beside other values, unless a table says that it is a class."""
    write_masks(tmp_path, as_file=lambda mask_HW: Image.fromarray(np.where(mask_HW == 2, 255, mask_HW)))
    found = masks_of(module := data(tmp_path))
    assert found.names == ["0", "1"] and np.array_equal(found.mask(0) == VOID, mask_of(0) == 2)
    assert found.values[0, 3] == (mask_of(0) == 2).sum() and "void; " not in notes_of(module)
    assert "255 " in notes_of(module) and ", void" in notes_of(module)
    (tmp_path / "classes.yaml").write_text("names: {0: ground, 1: road, 255: sky}\n")
    assert masks_of(data(tmp_path)).names == ["ground", "road", "sky"]


@pytest.mark.parametrize("name", ["void", "Unlabeled", "ignore_label", "unlabelled"])
def test_what_the_table_calls_void_is_void(tmp_path: Path, name: str) -> None:
    (write_masks(tmp_path) / "label_colors.txt").write_text(f"0 ground\n1 {name}\n2 car\n")
    found = masks_of(data(tmp_path))
    assert found.names == ["ground", "car"] and np.array_equal(found.mask(0) == VOID, mask_of(0) == 1)


def test_ignored_values(tmp_path: Path) -> None:
    write_masks(tmp_path, classes=4)
    module = data(tmp_path, ignore_values=[2, 11])
    assert masks_of(module).names == ["0", "1", "3"] and "no mask has the value 11" in notes_of(module)
    (tmp_path / "classes.yaml").write_text("[a, b, c, d]".join(["classes: ", ""]))
    assert masks_of(data(tmp_path, ignore_values=["b"])).names == ["a", "c", "d"]
    assert masks_of(data(tmp_path, ignore_values="b")).names == ["a", "c", "d"]
    assert masks_of(data(tmp_path, ignore_values=3)).names == ["a", "b", "c"]
    with pytest.raises(ConfigError, match="'e' is no class and no value"):
        _ = data(tmp_path, ignore_values=["e"]).table


def test_values_without_a_name_are_void(tmp_path: Path) -> None:
    (write_masks(tmp_path) / "classes.yaml").write_text("ground: 0\nroad: 1\n")
    module = data(tmp_path)
    found = masks_of(module)
    assert found.names == ["ground", "road"] and np.array_equal(found.mask(0) == VOID, mask_of(0) == 2)
    assert "1 value of masks has no name (void" in notes_of(module) and "2: 8" in notes_of(module)
    with pytest.raises(ConfigError, match=r"on_error=fail\): 1 value of masks has no name"):
        _ = data(tmp_path, on_error="fail").table
    (tmp_path / "classes.yaml").write_text("road: 1\ncar: 2\n")
    with pytest.raises(ConfigError, match=r"has no name for values on 8\d.\d % of the pixels"):
        _ = data(tmp_path).table


def test_colours_need_a_table(tmp_path: Path) -> None:
    write_masks(tmp_path, as_file=MODES["RGB"][0])
    with pytest.raises(ConfigError, match=r"its masks have colours \(0,0,0 8\d.\d %; .*no table says what they mean"):
        _ = data(tmp_path).table


def test_indices_beside_a_table_of_colours(tmp_path: Path) -> None:
    """The colours of a palette count if the table has all of them; else the index is the place in the table."""
    (write_masks(tmp_path) / "labelmap.txt").write_text(LABELMAP)
    module = data(tmp_path)
    assert masks_of(module).names == ["background", "road", "car"] and "read as 0 = background" in notes_of(module)

    def shuffled(mask_HW: Mask) -> Image.Image:
        image = Image.fromarray(2 - mask_HW).convert("L")
        image.putpalette(RGB_OF[::-1].tobytes())
        return image

    shutil.rmtree(tmp_path / "masks")
    write_masks(tmp_path, as_file=shuffled)
    assert Image.open(tmp_path / "masks/00.png").mode == "P"
    assert np.array_equal(masks_of(data(tmp_path)).mask(0), mask_of(0))


def test_more_classes_than_there_are_ids(tmp_path: Path) -> None:
    def many(mask_HW: Mask) -> Image.Image:
        return Image.fromarray(np.arange(mask_HW.size, dtype=np.uint16).reshape(mask_HW.shape))

    write_masks(tmp_path, as_file=many)
    with pytest.raises(ConfigError, match="1,727 different values, and 255 classes are the most"):
        _ = data(tmp_path).table


def test_smeared_edges_are_no_classes(tmp_path: Path) -> None:
    def smeared(mask_HW: Mask) -> Image.Image:
        large = Image.fromarray((mask_HW > 0).astype(np.uint8) * 255)
        small = large.resize((19, 14), Image.Resampling.BICUBIC)
        return small.resize(SIZE_WH, Image.Resampling.BICUBIC).point(lambda value: 0 if value < 40 else value)

    write_masks(tmp_path, as_file=smeared)
    with pytest.raises(ConfigError, match="edges that were smeared by resizing or by a JPEG"):
        _ = data(tmp_path).table


def test_what_is_wrong_with_files(tmp_path: Path) -> None:
    """Each is found, told and left out."""
    write_masks(tmp_path)
    (tmp_path / "masks/00.png").write_bytes(b"")
    (tmp_path / "masks/01.png").unlink()
    Image.fromarray(mask_of(2)).save(tmp_path / "masks/02.png", format="JPEG")
    Image.fromarray(mask_of(3, (30, 30))).save(tmp_path / "masks/03.png")
    Image.fromarray(mask_of(4)).save(tmp_path / "masks/lonely.png")
    Image.new("L", SIZE_WH, 255).save(tmp_path / "masks/05.png")
    whole = (tmp_path / "masks/06.png").read_bytes()
    (tmp_path / "masks/06.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "images/07.png").write_bytes(b"no image")
    module = data(tmp_path)
    findings = module.findings
    assert findings is not None
    found = {(one.kind, one.image) for one in findings}
    assert found == {
        ("mask_unreadable", "images/00.png"), ("mask_missing", "images/01.png"), ("mask_lossy", "images/02.png"),
        ("mask_size", "images/03.png"), ("mask_without_image", "masks/lonely.png"), ("mask_void", "images/05.png"),
        ("mask_unreadable", "images/06.png"), ("image_unreadable", "images/07.png"),
    }  # fmt: skip
    details = " ".join(one.detail for one in findings)
    assert "the file has 0 bytes" in details and "30 x 30 pixels, and the image has 48 x 36" in details
    assert module.table.paths.tolist() == [f"images/{number:02d}.png" for number in (4, 7, 8, 9, 10, 11)]
    assert "1 image has no mask (left out): images/01.png" in notes_of(module)
    assert np.array_equal(masks_of(module).mask(0), mask_of(4))
    with pytest.raises(ConfigError, match="on_error=fail"):
        _ = data(tmp_path, on_error="fail").table


@pytest.mark.parametrize(("break_one", "message"), [
    (lambda file: Image.open(file).save(file, format="JPEG"), "no mask can be used. 12 masks are saved in a format"),
    (lambda file: file.write_bytes(b""), "no mask can be used. 12 masks cannot be read"),
    (lambda file: file.unlink(), "no mask was found"),
    (lambda file: file.rename(file.with_name(f"x{file.name}")), "none of the 12 masks .* is called like one of"),
])  # fmt: skip
def test_nothing_is_left(tmp_path: Path, break_one: Callable[[Path], Any], message: str) -> None:
    for file in write_masks(tmp_path).glob("masks/*"):
        break_one(file)
    with pytest.raises(ConfigError, match=message):
        _ = data(tmp_path).table


@pytest.mark.parametrize("orientation", range(2, 9))
def test_masks_of_turned_images(tmp_path: Path, orientation: int) -> None:
    """Those of the stored size are turned with their image, those of the upright size are not."""
    write_masks(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = {5: (1, True), 6: (3, False), 7: (3, True), 8: (1, False)}.get(orientation)
    for number in range(4):
        image_of(mask_of(number)).save(tmp_path / f"images/{number:02d}.png", exif=exif)
    as_drawn = mask_of(1)
    if upright is not None:
        as_drawn = np.rot90(mask_of(1), upright[0])
        Image.fromarray(np.ascontiguousarray(as_drawn)).save(tmp_path / "masks/01.png")
    module = data(tmp_path)
    notes, found = notes_of(module), masks_of(module)
    for row in (0, 1):
        image = np.asarray(module.table.read(row))
        assert found.size(row) == (image.shape[1], image.shape[0]) == found.mask(row).shape[::-1]
    if upright is None:
        assert "EXIF turns 4 images, and no size tells" in notes and np.array_equal(found.mask(0), mask_of(0))
        return
    assert "EXIF turns 3 images, and their masks have the size of the stored image: they are turned with it" in notes
    assert "EXIF turns 1 image, and their masks have the size of the upright image: they stay" in notes
    assert np.array_equal(found.mask(1), as_drawn)
    shown = np.asarray(module.table.read(0)).argmax(axis=2)  # class 1 is red, class 2 is blue
    truth = found.mask(0)
    assert (shown[truth == 1] == 0).all() and (shown[truth == 2] == 2).all()


def test_the_second_start_reads_no_mask(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_masks(tmp_path / "data")
    (root / "masks/00.png").write_bytes(b"")
    settings = {"cache": "images", "cache_dir": str(tmp_path / "cache")}
    kept = "Values of the masks are taken from"
    with caplog.at_level(logging.INFO):
        first = data(root, **settings)
        assert len(masks_of(first)) == 11 and kept not in caplog.text
        again = data(root, **settings)
        assert again.table.fingerprint() == first.table.fingerprint() and notes_of(again) == notes_of(first)
        assert kept in caplog.text and again.findings is not None and len(again.findings) == 1
        caplog.clear()
        Image.fromarray(mask_of(7)).save(root / "masks/01.png")
        assert data(root, **settings).table.fingerprint() != first.table.fingerprint() and kept not in caplog.text


def test_known_classes_go_by_name(tmp_path: Path) -> None:
    """Of a trained model: ids are its own, and what it lacks is refused."""
    (write_masks(tmp_path) / "classes.yaml").write_text("ground: 0\nCar: 1\nroad: 2\n")
    module = data(tmp_path, known_classes=["sky", "car", "ground", "road"])
    found = masks_of(module)
    assert found.names == ["sky", "car", "ground", "road"] and "The class 'Car' is the model's 'car'" in notes_of(
        module
    )
    assert np.array_equal(found.mask(0), np.array([2, 1, 3])[mask_of(0)])
    assert found.pixels(np.array([0]))[0].tolist() == np.bincount(found.mask(0).reshape(-1)).tolist()
    with pytest.raises(ConfigError, match="classes that the model lacks: road"):
        _ = data(tmp_path, known_classes=["car", "ground"]).table
    (tmp_path / "classes.yaml").unlink()
    with pytest.raises(ConfigError, match=r"no table names the values of its masks.*lacks: 0, 1, 2"):
        _ = data(tmp_path, known_classes=["car", "ground"]).table


def test_background_alone_is_background_for_a_model_of_two_classes(tmp_path: Path) -> None:
    write_masks(tmp_path, as_file=lambda mask_HW: Image.new("L", SIZE_WH))
    assert masks_of(data(tmp_path, known_classes=["background", "foreground"])).pixels(np.arange(2))[:, 1].sum() == 0


def test_a_table_of_images_and_masks(tmp_path: Path) -> None:
    write_masks(tmp_path / "set")
    lines = [f"set/images/{n:02d}.png,set/masks/{n:02d}.png,{'val' if n > 8 else 'train'},{n // 3}" for n in range(11)]
    (tmp_path / "list.csv").write_text("\n".join(["path,mask,split,group", *lines, "set/images/11.png,,val,"]))
    module = data(None, file=str(tmp_path / "list.csv"))
    assert [len(module.table.splits[name]) for name in ("train", "val")] == [9, 2]
    assert module.table.groups_N is not None and len(np.unique(module.table.groups_N)) == 4
    assert "1 image has no mask (left out): set/images/11.png: the table names none" in notes_of(module)
    assert np.array_equal(masks_of(module).mask(5), mask_of(5))
    (tmp_path / "list.csv").write_text("path,mask\nset/images/00.png,set/masks/00.png\nset/images/00.png,b.png\n")
    with pytest.raises(ConfigError, match="1 row that contradicts an earlier one"):
        _ = data(None, file=str(tmp_path / "list.csv")).table
    with pytest.raises(ConfigError, match=r"data\.root is missing"):
        data(None)


def test_folds_and_a_split_file(tmp_path: Path) -> None:
    write_masks(tmp_path)
    folds = [
        set(data(tmp_path, folds=3, fold=fold, test_fraction=0.0).table.splits["val"].tolist()) for fold in (0, 1, 2)
    ]
    assert set.union(*folds) == set(range(12)) and sum(map(len, folds)) == 12
    lines = [f"images/{n:02d}.png,{'train' if n < 6 else 'val'}" for n in range(12)]
    (tmp_path / "split.csv").write_text("\n".join(["path,split", *lines]))
    splits = data(tmp_path, split_file=str(tmp_path / "split.csv")).table.splits
    assert splits["train"].tolist() == list(range(6)) and splits["val"].tolist() == list(range(6, 12))


def test_the_rarest_class_is_spread_over_the_splits(tmp_path: Path) -> None:
    for number in range(40):
        mask_HW = mask_of(number, classes=2)
        if number % 5 == 0:
            mask_HW[:3, :3] = 2
        write_pair(tmp_path / f"images/{number:02d}.png", tmp_path / f"masks/{number:02d}.png", mask_HW)
    module = data(tmp_path)
    assert all(masks_of(module).counts(rows)[2] >= 1 for rows in module.table.splits.values())
