"""Cells that spreadsheets would compute, and characters that terminals would obey."""

import csv
from pathlib import Path

import pytest

from src.files.csv_files import CsvWriter, as_text, as_written, read_csv_file
from src.files.printable import printable

CELLS = [
    "=1+1",
    "+cmd",
    "-x",
    "@sum",
    "\tx",
    "'=1",
    "''=1",
    "'quoted'",
    "-1.5",
    "+2e-3",
    "plain",
    "",
    "'",
    "a=b",
    "\uff1d1",
]


@pytest.mark.parametrize("cell", CELLS)
def test_no_cell_is_a_formula_and_every_cell_reads_back(cell: str) -> None:
    written = as_text(cell)
    assert as_written(written) == cell
    if cell not in ("-1.5", "+2e-3"):
        assert not written.startswith(("=", "+", "-", "@", "\t", "\uff1d"))


def test_numbers_stay_numbers() -> None:
    assert [as_text(cell) for cell in ("-1.5", "+2e-3", "-.5", "-7")] == ["-1.5", "+2e-3", "-.5", "-7"]


def test_a_file_is_written_safely_unless_it_is_asked_otherwise(tmp_path: Path) -> None:
    for safe in (True, False):
        with (tmp_path / "a.csv").open("w", newline="") as file:
            writer = CsvWriter(file, ["path", "=header"], safe)
            writer.write(["=a.png", -1.5])
            writer.write({"=header": "@x"})
        with (tmp_path / "a.csv").open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert any(cell.startswith(("=", "@")) for cell in cells) is not safe
        rows = [{"path": "=a.png", "=header": "-1.5"}, {"path": "", "=header": "@x"}]
        assert read_csv_file(tmp_path / "a.csv") == rows
    assert read_csv_file(tmp_path / "none.csv") == []


def test_what_a_terminal_would_obey_is_spelled_out() -> None:
    assert printable("b\x1b[31mred\u202eexe\udcff") == "b\\x1b[31mred\\u202eexe\\udcff"
    assert printable("Käse 画像\n\ttab") == "Käse 画像\n\ttab"
