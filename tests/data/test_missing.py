"""Images that a table names and that are not there: where they were looked for, and the way out."""

import os
from pathlib import Path

import pytest
from conftest import COLORS, Run, paint

from src.data.missing import require_found, where_it_is
from src.settings.errors import ConfigError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("images/cat/a.png", "images/cat/B.JPG"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "images"


@pytest.mark.parametrize(
    ("start", "path", "text"),
    [
        (".", "cat/a", "{}/cat/a.png: write the paths with the extension"),
        (".", "cat/a.jpg", "{}/cat/a.png: write the paths with the extension"),
        (".", "Cat/b.jpg", "{}/cat/B.JPG, which differs in capital letters"),
        (".", "cat\\a.png", "With / instead of \\ it is there: cat/a.png"),
        (".", "a.png", "set data.root='{}/cat'"),
        (".", "a", "set data.root='{}/cat', and write the extension too"),
        ("cat", "cat/a.png", "It is in {}: set data.root='{}'"),
        ("..", "cat/a.png", "set data.root='{}'"),
        (".", "/home/me/images/cat/a.png", "take '/home/me/images/' off the paths"),
        (".", "C:\\set\\cat\\a.png", "take 'C:\\set\\' off the paths"),
        (".", "dog/a.png", "There is {}/cat/a.png: write the paths as they are below {}"),
        (".", "no.png", "Set data.root=<folder that the paths start from>; it is {} now"),
        ("nowhere", "cat/z.png", "There is no folder {}/nowhere either"),
        (".", "x\0y", "Set data.root="),
        (".", "y" * 5000, "Set data.root="),
    ],
)
def test_where_it_was_looked_for_and_where_it_is(root: Path, start: str, path: str, text: str) -> None:
    looked_from = Path(os.path.normpath(root / start))
    told = where_it_is(looked_from, path)
    assert told.startswith(f"there is no {looked_from / path}.") and text.replace("{}", str(root)) in told


def test_a_link_to_nothing(root: Path) -> None:
    (root / "c.png").symlink_to("gone.png")
    assert "It is a link to gone.png, which is not there." in where_it_is(root, "c.png")


def test_a_few_missing_ones_are_a_note_and_most_an_end(root: Path) -> None:
    assert require_found(root, ["cat/a.png"] * 5, "images='t.csv'", "root") == ""
    note = require_found(root, ["cat/a.png"] * 999 + ["a.png"], "images='t.csv'", "root")
    assert note.startswith("images='t.csv': 1 of 256 images that were tried is missing, e.g. 'a.png'")
    with pytest.raises(ConfigError, match=r"3 of 4 images are missing, .* set root="):
        require_found(root, ["cat/a.png", *["a.png"] * 3], "images='t.csv'", "root")


def test_every_command_says_so(tmp_path: Path, colors_run: Run, command) -> None:
    for seed, color in enumerate(COLORS):
        paint(tmp_path / "images" / color, color, 6, seed)
    images = sorted((tmp_path / "images").glob("*/*"))
    lines = [f"{image.relative_to(tmp_path / 'images').as_posix()},{image.parent.name}" for image in images]
    file = tmp_path / "t.csv"
    file.write_text("\n".join(["path,label", *lines, ""]))
    way_out = f"root='{tmp_path / 'images'}'"
    ckpt = f"ckpt={colors_run.directory}"
    for name, *arguments in (
        ("train", "data=csv", f"data.file={file}", f"output_dir={tmp_path}/run"),
        ("check", "data=csv", f"data.file={file}", f"output={tmp_path}/check"),
        ("evaluate", ckpt, "data=csv", f"data.file={file}", "accelerator=cpu"),
        ("predict", ckpt, f"images={file}", f"output={tmp_path}/p.csv", "accelerator=cpu"),
        ("explain", ckpt, f"images={file}", f"output={tmp_path}/maps", "accelerator=cpu"),
    ):
        answer = command(name, *arguments)
        assert answer.status == 1 and "18 of 18 images are missing" in answer.err, (name, answer.err)
        assert way_out in answer.err and "Traceback" not in answer.err
    answer = command("predict", ckpt, f"images={file}", f"root={tmp_path}/images", f"output={tmp_path}/p.csv")
    assert answer.status == 0 and "18 images" in answer.err, answer.err
