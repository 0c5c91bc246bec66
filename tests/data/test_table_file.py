"""Tables as people bring them: dialects, encodings, damage; the same for data.file, data.split_file and images."""

from pathlib import Path
from typing import Any

import pytest

from src.data.given_images import find_images
from src.data.split_plan import read_split_file
from src.data.table import string_column
from src.data.tables.chunks import Cell
from src.data.tables.table_file import open_table
from src.files.csv_files import CsvWriter
from src.settings.errors import ConfigError

PLAIN = "path,label\na.png,x\nb.png,y\n"


def read(file: Path, content: str | bytes) -> tuple[list[str], list[list[Cell]], list[int]]:
    """Columns, rows and their lines."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with open_table(file, "data.file") as table:
        chunks = list(table.chunks)
    return table.columns, [row for chunk in chunks for row in chunk.rows], [n for chunk in chunks for n in chunk.lines]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN, PLAIN.replace(",", ";"), PLAIN.replace(",", "\t"), PLAIN.replace(",", "|"), PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"), "\ufeff" + PLAIN, PLAIN.encode("utf-16"), b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        "sep=;\n" + PLAIN.replace(",", ";"), "\n\n" + PLAIN, PLAIN.replace("\n", "\n\n"), PLAIN + ",\n , \n",
        PLAIN.replace("\n", ",\n"), " path , label\na.png, \"x\"\nb.png, y\n",
    ],
)  # fmt: skip
def test_dialects_of_one_table(tmp_path: Path, content: str | bytes) -> None:
    columns, rows, _ = read(tmp_path / "t.csv", content)
    assert columns[:2] == ["path", "label"] and [row[:2] for row in rows] == [["a.png", "x"], ["b.png", "y"]]


def test_the_lines_are_those_of_the_file(tmp_path: Path) -> None:
    content = 'path,note\r\n\r\na.png,"two\r\nlines"\r\n\r\n,\r\nb.png,x\r\n'
    _, rows, lines = read(tmp_path / "t.csv", content)
    assert rows == [["a.png", "two\r\nlines"], ["b.png", "x"]] and lines == [3, 7]


def test_a_cell_may_be_larger_than_pythons_limit(tmp_path: Path) -> None:
    _, rows, _ = read(tmp_path / "t.csv", f"path,mask\na.png,{'1 ' * 100_000}\n")
    assert len(rows[0][1]) == 200_000


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        ("path,label\nx,Käse\n".encode("latin-1"), "no csv file in UTF-8: line 2 has the byte 0xe4"),
        (PLAIN.encode("utf-16-le"), "line 1 has bytes of zero"),
        (b"path,label\na.png,x\n\0b.png,y\n", "line 3 has bytes of zero"),
        (b"PK\x03\x04xl/worksheets", "an Excel file or a zip archive: save it as csv"),
        (b"\x1f\x8b\x08", "compressed"),
        (b"path,label\n\na.png\n", "line 3 has 1 value, and the header names 2"),
        (b"path,label\na.png,x,y\n", "line 2 has 3 values, and the header names 2: 'a.png | x | y'"),
        (b'path,label\n"a.png,x\nb.png,y",z,w\n', "lines 2 to 3 has 3 values"),
        (b'path,label\na.png,"x\nb.png,y\n', 'a quote (") is left open in line 2'),
        (b"PAR1 and nothing else", "is no parquet file"),
    ],
)
def test_what_is_no_table_is_told_with_its_line(tmp_path: Path, content: bytes, text: str) -> None:
    if content.startswith(b"PAR1"):
        pytest.importorskip("pyarrow")
    with pytest.raises(ConfigError) as error:
        read(tmp_path / "t.csv", content)
    assert text in str(error.value) and "data.file=" in str(error.value)


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label,label,note,note\na.png,x,y,,\n")
    with open_table(tmp_path / "t.csv", "images") as table:
        assert table.place("path") == 0
        with pytest.raises(ConfigError, match="has 2 columns 'label'"):
            table.place("label", "data.label_columns")


def test_cells_of_our_own_files_read_back(tmp_path: Path) -> None:
    cells = ["=a.png", "@x", "-y", "'=z", "plain", "a,b", "two\nlines"]
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        CsvWriter(file, ["path", "label"]).write_all([cell, cell] for cell in cells)
    with open_table(tmp_path / "t.csv", "images") as table:
        assert [row for chunk in table.chunks for row in chunk.rows] == [[cell, cell] for cell in cells]


# ---------------------------------------------------------------------------------------- the settings that name tables


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("a.png", "deep/b.png", "=c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_predictions_read_the_tables_that_training_reads(images: Path, suffix: str) -> None:
    paths = ["a.png", "deep\\b.png", "'=c.png"]
    file = images / f"t{suffix}"
    if suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        import pyarrow.parquet as parquet

        parquet.write_table(pyarrow.table({"note": [1, 2, 3], "path": [*paths[:2], "=c.png"]}), file)
    else:
        file.write_text("path;note\n" + "".join(f"{path} ;1\n" for path in paths))
    assert find_images(str(file)) == (images, ["a.png", "deep/b.png", "=c.png"])


def test_most_images_of_a_table_are_missing(images: Path) -> None:
    (images / "t.csv").write_text("path\nb.png\nc.png\na.png\n")
    with pytest.raises(ConfigError) as error:
        find_images(str(images / "t.csv"))
    text = str(error.value)
    assert "2 of 3 images are missing, e.g. 'b.png'" in text and f"there is no {images / 'b.png'}" in text
    assert f"set root='{images / 'deep'}'" in text


def test_folders_for_predictions_are_read_as_in_training(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.png", "a.png", ".thumbs/x.png", "__MACOSX/x.png", "c/._1.png", "c/note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "d").symlink_to(tmp_path / "b")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert find_images(str(tmp_path)) == (Path(), [str(tmp_path / name) for name in ("a.png", "b/1.png", "b/2.png")])
    with pytest.raises(ConfigError, match="has no images, but 2 other files"):
        find_images(str(tmp_path / "c"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty' has no images: an image's name ends with"):
        find_images(str(tmp_path / "empty"))


def split_file(file: Path, content: str, paths: list[str]) -> Any:
    file.write_text(content, encoding="utf-8")
    return read_split_file(file, string_column(paths))


def test_split_files_in_other_dialects(tmp_path: Path) -> None:
    content = "path;split\n a\\1.png;Train\na/2.png ;dev\n'=3.png;test\n4.png;\nmore.png;train\n"
    splits, notes = split_file(tmp_path / "s.csv", content, ["a/1.png", "a/2.png", "=3.png", "4.png"])
    assert {name: rows.tolist() for name, rows in splits.items()} == {"train": [0], "val": [1], "test": [2]}
    assert len(notes) == 1 and "1 of its rows are about images that are not there" in notes[0]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("path,split\n\n1.png,x\n", "names the split 'x' in line 3"),
        ("path,split\n1.png,train\n1.png,val\n", "has 1.png twice, in line 2 for train and in line 3 for val"),
        ("file,split\n1.png,train\n", "needs the columns path and split, not file, split"),
        ("path,split\n2.png,train\n", "lacks 1 of 1 images, e.g. 1.png"),
    ],
)
def test_split_files_with_mistakes(tmp_path: Path, content: str, text: str) -> None:
    with pytest.raises(ConfigError) as error:
        split_file(tmp_path / "s.csv", content, ["1.png"])
    assert text in str(error.value)
