"""Which file is the mask of which image, by the names of folders and files."""

import shutil
from pathlib import Path

import pytest
from support.mask_folders import image_of, mask_of, write_masks, write_pair

from src.data.mask_files.found_pairs import find_pairs
from src.data.mask_files.pairs import Pairs
from src.settings.errors import ConfigError

MASK = mask_of(0)


def write(root: Path, *pairs: tuple[str, str]) -> Path:
    for image, mask in pairs:
        write_pair(root / image, root / mask, MASK)
    return root


def found_in(root: Path, images: str | None = None, masks: str | None = None, suffix: str | None = None) -> Pairs:
    return find_pairs(root, None if images is None else Path(images), None if masks is None else Path(masks), suffix)


def rows(pairs: Pairs) -> list[tuple[str, str, str]]:
    return sorted(zip(pairs.images, pairs.masks, pairs.splits, strict=True))


@pytest.mark.parametrize("pair", [
    ("images/one.jpg", "masks/one.png", ""),
    ("images/one.b.jpg", "masks/one.b.png", ""),
    ("Images/one.jpg", "Labels/one.png", ""),
    ("JPEGImages/one.jpg", "SegmentationClass/one.png", ""),
    ("images/train/one.jpg", "masks/train/one.png", "train"),
    ("images/training/one.jpg", "annotations/training/one.png", "train"),
    ("train/images/one.jpg", "train/masks/one.png", "train"),
    ("images/val2017/one.jpg", "masks/val2017/one.png", "val"),
    ("train/one.png", "train_labels/one_L.png", "train"),
    ("test/one.png", "testannot/one.png", "test"),
    ("valid_images/one.png", "valid_masks/one.png", "val"),
    ("images/one_rgb.png", "masks/one_mask.png", ""),
    ("images/one.jpg", "masks/one_segmentation.png", ""),
    ("leftImg8bit/train/x/x_0_leftImg8bit.png", "gtFine/train/x/x_0_gtFine_labelIds.png", "train"),
    ("train/one.jpg", "train/one_mask.png", "train"),
    ("one.jpg", "one_mask.png", ""),
    ("one.jpg", "masks/one.png", ""),
    ("images/train/one.jpg", "semantic/masks/train/one.png", "train"),
    ("images/one.jpg", "masks/train/one.png", "train"),
])  # fmt: skip
def test_layouts(tmp_path: Path, pair: tuple[str, str, str]) -> None:
    image, mask, split = pair
    other, other_mask = (path.replace("one", "two").replace("x_0", "x_1") for path in (image, mask))
    found = found_in(write(tmp_path, (image, mask), (other, other_mask)))
    assert rows(found) == sorted([(image, mask, split), (other, other_mask, split)])
    assert not found.missing and not found.orphans


def test_the_same_names_in_two_splits(tmp_path: Path) -> None:
    """No image gets the mask of another split's, also where its own is missing."""
    write(tmp_path, ("train/images/1.png", "train/masks/1.png"), ("val/images/1.png", "val/masks/1.png"))
    (tmp_path / "val/masks/1.png").unlink()
    found = found_in(tmp_path)
    assert rows(found) == [("train/images/1.png", "train/masks/1.png", "train")]
    assert found.missing == [("val/images/1.png", "no mask is called like it")]


def test_several_masks_of_an_image(tmp_path: Path) -> None:
    """Masks of instances and pictures of masks are none; of the others, one has to be named."""
    image, masks = "leftImg8bit/train/x_0_leftImg8bit.png", "gtFine/train/x_0_gtFine_{}.png"
    for kind in ("labelIds", "color", "instanceIds"):
        write(tmp_path, (image, masks.format(kind)))
    assert rows(found_in(tmp_path))[0][1] == masks.format("labelIds")
    write(tmp_path, (image, masks.format("labelTrainIds")))
    with pytest.raises(ConfigError, match=r"several masks.*data.mask_suffix=_gtFine_labelIds or data.mask_suffix=_gt"):
        found_in(tmp_path)
    for suffix in ("_gtFine_labelTrainIds", "_labelTrainIds"):
        assert rows(found_in(tmp_path, suffix=suffix)) == [(image, masks.format("labelTrainIds"), "train")]
    assert rows(found_in(tmp_path, suffix="_color"))[0][1] == masks.format("color")


def test_folders_that_are_named(tmp_path: Path) -> None:
    root = write_masks(tmp_path / "data", 2)
    shutil.copytree(root / "masks", tmp_path / "coarse")
    expected = [(f"images/0{n}.png", f"../coarse/0{n}.png", "") for n in range(2)]
    assert rows(found_in(root, masks=str(tmp_path / "coarse"))) == expected
    assert rows(found_in(root, "images", "masks")) == [(f"images/0{n}.png", f"masks/0{n}.png", "") for n in range(2)]
    write(tmp_path / "odd", ("a/train/1.png", "b/train/1.png"))
    assert rows(found_in(tmp_path / "odd", "a", "b")) == [("a/train/1.png", "b/train/1.png", "train")]
    assert rows(found_in(tmp_path / "odd", "a/train", "b/train")) == [("a/train/1.png", "b/train/1.png", "train")]
    with pytest.raises(ConfigError, match=r"data\.image_folder='c' is no folder"):
        found_in(root, "c", "masks")


def test_lists_of_voc(tmp_path: Path) -> None:
    write(tmp_path, *((f"JPEGImages/{n}.jpg", f"SegmentationClass/{n}.png") for n in range(4)))
    image_of(MASK).save(tmp_path / "JPEGImages/8.jpg")
    image_of(MASK).save(tmp_path / "JPEGImages/9.jpg")
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("0\n1\n9\n")
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("2\n")
    found = found_in(tmp_path)
    assert found.splits == ["train", "train", "val", ""] and [image for image, _ in found.missing] == [
        "JPEGImages/9.jpg"
    ]
    assert "1 image is in no list of ImageSets/Segmentation and without a mask: left out." in found.notes


def test_what_is_left_out(tmp_path: Path) -> None:
    root = write_masks(tmp_path, 2)
    write(root, ("overlays/00.png", "instances/00.png"), ("thumbs/00.png", "thumbs/01.png"))
    (root / "masks/00.png").rename(root / "masks/other.png")
    found = found_in(root)
    assert rows(found) == [("images/01.png", "masks/01.png", "")] and found.orphans == ["masks/other.png"]
    assert any("2 images are left out, in folders that are neither called like" in note for note in found.notes)


@pytest.mark.parametrize(("pair", "message"), [
    (("images/a.jpg", "images/b.jpg"), "no mask was found. Expected are images and masks of the same names"),
    (("masks/a.jpg", "masks/b.jpg"), "no image was found"),
    (("images/a.jpg", "masks/b.png"), r"none of the 1 masks \(such as masks/b.png\)"),
])  # fmt: skip
def test_nothing_fits(tmp_path: Path, pair: tuple[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        found_in(write(tmp_path, pair))
