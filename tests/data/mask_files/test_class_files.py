"""Tables of names for the values or colours of masks."""

from pathlib import Path

import pytest

from src.data.mask_files.class_files import find_class_file, read_class_file
from src.data.mask_files.class_table import is_void
from src.data.mask_files.codes import code_of_color, text_of
from src.settings.errors import ConfigError

ROAD, SKY = code_of_color(128, 64, 128), code_of_color(0, 0, 255)
COLORS, VALUES = {ROAD: "road", SKY: "blue sky"}, {1: "road", 7: "blue sky"}


@pytest.mark.parametrize(("name", "text", "names"), [
    ("labelmap.txt", "# label:color_rgb:parts:actions\nroad:128,64,128::\nblue sky:0,0,255::\n", COLORS),
    ("labelmap.txt", "road:128,64,128:wheel,door:go\nblue sky:0,0,255::\n", COLORS),
    ("label_colors.txt", "128 64 128\troad\n0 0 255\t\tblue sky\n", COLORS),
    ("class_dict.csv", "name,r,g,b\nroad,128,64,128\nblue sky,0,0,255\n", COLORS),
    ("_classes.csv", "Pixel Value, Class\n1, road\n7, blue sky\n", VALUES),
    ("classes.txt", "1 road\n7 blue sky\n", VALUES),
    ("classes.txt", "1: road\n7: blue sky\n", VALUES),
    ("classes.txt", "road\nblue sky\n", {0: "road", 1: "blue sky"}),
    ("c.yaml", "road: [128, 64, 128]\nblue sky: [0, 0, 255]\n", COLORS),
    ("c.yaml", "road: '#804080'\nblue sky: '#0000ff'\n", COLORS),
    ("c.yaml", "road: 1\nblue sky: 7\n", VALUES),
    ("c.yaml", "1: road\n7: blue sky\n", VALUES),
    ("c.yaml", "path: .\ntrain: images\nclasses:\n  1: road\n  7: blue sky\n", VALUES),
    ("c.yaml", "names: [road, blue sky]\n", {0: "road", 1: "blue sky"}),
    ("c.yaml", "a: 1\nb: 2\nc: 1\n", "1 is called both 'a' and 'c'"),
    ("c.yaml", "a: 1\nb: [1, 2, 3]\n", "has both values and colours"),
    ("c.yaml", "a: [1, 2]\n", r"\[1, 2\] is no colour"),
    ("c.yaml", "a: red\n", "'a: red' is neither"),
    ("c.yaml", "a: -1\n", "-1 is no value of a mask"),
    ("c.yaml", "{}\n", "names no class"),
    ("c.txt", "road:128,64,128::\nsky\n", "line 2 is not like the others: 'sky'"),
    ("c.csv", "a,b\n1,2\n", "needs the columns name, r, g, b or value, name, not a, b"),
    ("c.csv", "name,r,g,b\na,x,2,3\n", "a cell that is no whole number"),
    ("c.json", "{}", "is none of .yaml"),
])  # fmt: skip
def test_files(tmp_path: Path, name: str, text: str, names: dict[int, str] | str) -> None:
    (tmp_path / name).write_text(text)
    if isinstance(names, str):
        with pytest.raises(ConfigError, match=names):
            read_class_file(tmp_path / name)
        return
    assert read_class_file(tmp_path / name).names == names


def test_the_table_that_lies_there(tmp_path: Path) -> None:
    assert find_class_file(tmp_path) is None
    (tmp_path / "labelmap.txt").write_text("a:1,2,3::\n")
    assert find_class_file(tmp_path) == tmp_path / "labelmap.txt"
    (tmp_path / "classes.yaml").write_text("a: 1\n")
    with pytest.raises(ConfigError, match=r"several tables of classes: labelmap.txt, classes.yaml. Name one"):
        find_class_file(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        read_class_file(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("mask", ["masks/train/deep/a.png", "masks/a.png", "../masks/a.png"])
def test_the_table_that_lies_beside_the_masks(tmp_path: Path, mask: str) -> None:
    """The one in data.root comes first."""
    root = tmp_path / "root"
    root.mkdir()
    beside = (root / mask[: mask.index("masks") + 5]).resolve()
    beside.mkdir()
    (beside / "labelmap.txt").write_text("a:1,2,3::\n")
    assert find_class_file(root) is None
    found = find_class_file(root, [mask])
    assert found is not None and found.samefile(beside / "labelmap.txt")
    (tmp_path / "classes.yaml").write_text("a: 1\n")  # no folder of masks
    (beside / "classes.yaml").write_text("a: 1\n")
    with pytest.raises(ConfigError, match=r"tables of classes: (\.\./)?masks/labelmap.txt, (\.\./)?masks/classes.yaml"):
        find_class_file(root, [mask])
    (root / "classes.yaml").write_text("a: 1\n")
    assert find_class_file(root, [mask]) == root / "classes.yaml"


def test_values_in_a_table_of_colours(tmp_path: Path) -> None:
    """Greys if all are, else places."""
    (tmp_path / "c.yaml").write_text("white: [255, 255, 255]\nblack: [0, 0, 0]\n")
    table = read_class_file(tmp_path / "c.yaml")
    assert table.named([0, 255]) == {0: "black", 255: "white"} and table.named([0, 1]) == {0: "white", 1: "black"}
    assert table.named([code_of_color(0, 0, 0), 5]) == {code_of_color(0, 0, 0): "black"}


def test_words(tmp_path: Path) -> None:
    assert all(
        map(is_void, ["void", "Unlabeled", "IGNORE", "ignore_label", "un-labelled", "don't care", "Void pixels"])
    )
    assert not any(map(is_void, ["background", "other", "avoid", "unknown", "voidage"]))
    assert [text_of(ROAD), text_of(7), text_of(-1)] == ["128,64,128", "7", "others"]
