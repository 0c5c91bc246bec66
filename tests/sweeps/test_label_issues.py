"""src.label_issues on made-up sweeps of folds: what it lists, shows and refuses. A real sweep is in test_splits."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Answer
from omegaconf import OmegaConf
from PIL import Image
from support.compared_runs import make_run, write_table

from src.sweeps.label_issues import write_of_sweep
from src.sweeps.results import SweepResults

FOLDS, EACH, WRONG = 3, 20, {"3.png", "31.png"}


def write_rows(file: Path, rows: list[dict[str, Any]]) -> None:
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Sixty images of `=ants` and bees, a third of them val of each job; two labels are wrong."""
    folder = tmp_path / "sweep"
    generator = np.random.default_rng(0)
    for fold in range(FOLDS):
        job = folder / f"{fold}_x"
        make_run(job, 0, {"val/acc": 0.9}, {"data.folds": FOLDS, "data.fold": fold, "data.root": str(tmp_path)})
        rows = []
        for n in range(fold * EACH, fold * EACH + EACH):
            bee = 0.95 - 0.2 * generator.random() if n % 2 else 0.05 + 0.2 * generator.random()
            label = "bees" if (n % 2 == 1) != (f"{n}.png" in WRONG) else "=ants"
            answer = "bees" if bee > 0.5 else "=ants"
            shares = {"prob:=ants": f"{1 - bee:.6f}", "prob:bees": f"{bee:.6f}"}
            rows.append({"path": f"{n}.png", "label": label, "prediction": answer, "confidence": "0.9", **shares})
        write_rows(job / "report" / "val_predictions.csv", rows)
    write_table(folder, [{"job": f"{n}_x", "status": "done", "data.fold": n} for n in range(FOLDS)])
    Image.new("RGB", (40, 30), "orange").save(tmp_path / "3.png")
    return folder


@pytest.fixture
def listed(command: Callable[..., Answer], sweep: Path, tmp_path: Path) -> Callable[..., Answer]:
    return lambda *settings: command("label_issues", f"runs={sweep}", f"output={tmp_path}/l.csv", *settings)


def test_the_planted_errors_are_listed_and_shown(listed: Callable[..., Answer], tmp_path: Path) -> None:
    answer = listed()
    assert answer.status == 0 and "About 2 labels of 60 images (3.3%) may be wrong" in answer.out, answer.err
    with (tmp_path / "l.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == WRONG
    assert all((row["label"], row["suggested"], row["split"]) == ("'=ants", "bees", "folds") for row in rows)
    assert float(rows[0]["label_probability"]) <= float(rows[1]["label_probability"]) < 0.3
    page = (tmp_path / "l.html").read_text()
    assert page.count("data:image/") == 1 and page.count('<li class="card">') == 2  # 31.png is not there any more
    assert listed("spreadsheet_safe=false").status == 0  # over its own earlier output
    assert "3.png,=ants,bees," in (tmp_path / "l.csv").read_text()
    answer = listed("every=true")
    assert answer.status == 0 and "2 labels of 60 images (3.3%) and what the models say instead" in answer.out


def test_test_images_are_those_of_all_folds(listed: Callable[..., Answer], sweep: Path, tmp_path: Path) -> None:
    """The mean of the jobs decides; outputs that are not finite say nothing."""
    for fold, bee in enumerate((0.99, 0.97, "nan")):
        rest = float("nan") if bee == "nan" else 1 - float(bee)
        row = {"path": "t.png", "label": "=ants", "prob:=ants": rest, "prob:bees": bee}
        write_rows(sweep / f"{fold}_x" / "report" / "test_predictions.csv", [row])
    assert listed().status == 0
    with (tmp_path / "l.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["path"], first["split"], first["suggested_probability"]) == ("t.png", "test", "0.9800")


@pytest.mark.parametrize(
    "change, told",
    [
        ({"data.folds": None}, "was trained without folds"),
        ({"task.name": "detection", "task.targets": "boxes"}, "no probability of each class"),
    ],
)
def test_what_has_no_list(listed: Callable[..., Answer], sweep: Path, change: dict[str, Any], told: str) -> None:
    for config in sweep.glob("*/config.yaml"):
        settings = OmegaConf.load(config)
        for key, value in change.items():
            OmegaConf.update(settings, key, value)
        OmegaConf.save(settings, config)
    answer = listed()
    assert answer.status == 1 and told in answer.err, answer.err


def test_damaged_tables_are_named(listed: Callable[..., Answer], sweep: Path) -> None:
    file = sweep / "1_x" / "report" / "val_predictions.csv"
    text = file.read_text()
    for changed, told in (
        (text.replace("25.png,bees", "25.png,wasps"), "no probability for wasps"),
        (text.replace("25.png", "3.png"), "another label or other classes"),
        (text.replace(",0.9,0.", ",0.9,x"), "no number where one is needed"),
    ):
        file.write_text(changed)
        answer = listed()
        assert answer.status == 1 and told in answer.err, answer.err


def test_other_files_are_kept(listed: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "l.html").write_text("mine")
    assert listed().status == 1 and (tmp_path / "l.html").read_text() == "mine"
    assert "ends with .csv" in listed("output=l.txt").err


def test_the_best_settings_of_a_sweep_count(sweep: Path) -> None:
    """The folds with the best mean of what is monitored; a sweep without folds has nothing to tell."""
    rows = [{"job": f"{n}_x", "status": "done", "data.fold": str(n), "lr": "1", "val/acc": 0.9} for n in range(FOLDS)]
    worse = [{**row, "job": "gone", "lr": "2", "val/acc": 0.5} for row in rows]
    told = write_of_sweep(SweepResults(sweep, [*worse, *rows], "val/acc"), True)
    assert told is not None and told.endswith(f"{sweep}/label_issues.html")
    assert (sweep / "label_issues.csv").is_file()
    seeds = [{"job": f"{n}_x", "status": "done", "seed": str(n), "val/acc": 0.9} for n in range(FOLDS)]
    assert write_of_sweep(SweepResults(sweep, seeds, "val/acc"), True) is None
