"""The table of scripts/reproduce.py, from the files that runs leave."""

import json
from pathlib import Path

import pytest

from scripts import reproduce
from scripts.reproduce import ROWS, after, show

CURVE = [(10.0, 0.5), (10.0, 0.7), (10.0, 0.9)]  # seconds and accuracy of each epoch


@pytest.mark.parametrize(("seconds", "accuracy"), [(5, 0.5), (10, 0.5), (19.9, 0.5), (20, 0.7), (30, 0.9), (99, 0.9)])
def test_the_plain_loop_after_the_same_time(seconds: float, accuracy: float) -> None:
    assert after(CURVE, seconds) == accuracy


def test_rows_are_paired_with_the_plain_loop_by_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reproduce, "RUNS", tmp_path)  # a constant: where the script's runs of hours lie
    plain, ours = (
        next(row for row in ROWS if (row.data, row.name) == ("hymenoptera", name)) for name in ("plain loop", "full")
    )
    for seed, last in enumerate((0.80, 0.90)):
        epochs = [{"seconds": 10.0, "val/acc": accuracy} for accuracy in (0.5, last)]
        write(plain.folder / f"seed={seed}", {"fit_start": 100.0, "fit_end": 120.0, "epochs": epochs})
    for seed, last in ((0, 0.82), (1, 0.94), (2, 0.10)):  # of seed 2 the plain loop has not ended
        write(ours.folder / f"seed={seed}", {"last/val/acc": last, "fit_seconds": 12.0, "epochs": 3})
    show([plain, ours], seeds=3)
    row = next(line for line in capsys.readouterr().out.splitlines() if " full " in line)
    assert [cell.strip() for cell in row.strip("│ ").split("│")] == [
        "hymenoptera", "full", "3", "12 s", "acc", "0.620 (0.100..0.940)", "",
        "+3.0 (-9.7..+15.7)", "0.500 (0.500..0.500)", "+38.0 (-38.2..+114.2)",
    ]  # fmt: skip


def write(folder: Path, metrics: dict[str, object]) -> None:
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(metrics))
