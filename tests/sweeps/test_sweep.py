"""Mean, spread and interval of repetitions. The tables of real sweeps are in test_train, test_splits, test_compare."""

import csv
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Answer
from omegaconf import OmegaConf

from src.cli.command_line import prepare
from src.cli.run_dir import job_dir
from src.evaluation.significance import t_interval, t_quantile, t_tails
from src.runs.finished_runs import runs_of
from src.settings.project import PROJECT_ROOT
from src.sweeps.ranking import print_ranking, print_repetitions
from src.sweeps.results import SweepResults
from src.sweeps.table import take_new_folder, typed_values, write_out_of_fold, write_table

SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]  # hours gained, Student 1908, Biometrika 6:1


@pytest.mark.parametrize(
    "confidence, df, t",
    [(0.95, 1, 12.706), (0.95, 2, 4.303), (0.95, 3, 3.182), (0.95, 4, 2.776), (0.95, 5, 2.571), (0.95, 9, 2.262),
     (0.95, 30, 2.042), (0.95, 120, 1.980), (0.99, 4, 4.604), (0.90, 10, 1.812)],
)  # fmt: skip
def test_quantiles_of_student_t_are_those_of_the_tables(confidence: float, df: int, t: float) -> None:
    assert t_quantile(confidence, df) == pytest.approx(t, abs=5e-4)
    assert t_tails(t, df) == pytest.approx(1 - confidence, abs=2e-4)


def test_interval_of_a_mean() -> None:
    """By hand: std of 1..5 is 1.5811, 2.7764 * 1.5811 / sqrt(5) = 1.9632. Student's data as R's `t.test` has them."""
    assert t_interval([1, 2, 3, 4, 5]) == pytest.approx((1.0368, 4.9632), abs=1e-4)
    assert t_interval(SLEEP) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)
    assert t_tails(4.0621277, 9) == pytest.approx(0.002833, abs=1e-6)
    assert t_tails(0.0, 4) == 1 and t_tails(0.0, 5) == 1


def table_of(folder: Path, rows: list[dict[str, Any]]) -> SweepResults:
    done = [{"job": f"{i}_x", "status": "done", **row} for i, row in enumerate(rows)]
    return SweepResults(folder, done, "val/acc")


def print_all(results: SweepResults) -> None:
    print_ranking(results)
    print_repetitions(results)


def test_seeds_get_an_interval_and_the_last_epoch_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accs = [0.91, 0.92, 0.93, 0.94, 0.95]
    rows = [{"seed": str(i), "val/acc": acc, "last/val/acc": acc - 0.01, "epochs": 3} for i, acc in enumerate(accs)]
    table = table_of(tmp_path, rows)
    write_table(table, True)
    with (tmp_path / "sweep.csv").open(newline="") as file:
        summary = {row["status"]: row for row in csv.DictReader(file) if row["status"] != "done"}
    assert list(summary) == ["mean", "std", "min", "max", "ci95_low", "ci95_high"]
    assert float(summary["ci95_low"]["val/acc"]) == pytest.approx(0.93 - 0.019632, abs=1e-6)
    assert float(summary["ci95_high"]["val/acc"]) == pytest.approx(0.93 + 0.019632, abs=1e-6)
    assert float(summary["ci95_low"]["epochs"]) == 3
    print_all(table)
    lines = capsys.readouterr().out.splitlines()
    assert "val/acc 0.9300, 95 % CI 0.9104..0.9496, std 0.0158 [0.9100..0.9500] over 5 jobs" in lines
    assert "last/val/acc 0.9200, 95 % CI 0.9004..0.9396, std 0.0158 [0.9000..0.9400] over 5 jobs" in lines
    assert sum("optimistic" in line for line in lines) == 1


def test_folds_get_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = table_of(tmp_path, [{"data.fold": str(i), "val/acc": 0.9 + i / 100} for i in range(3)])
    for row in table.rows:
        (tmp_path / row["job"] / "report").mkdir(parents=True)
        (tmp_path / row["job"] / "report" / "val_predictions.csv").write_text("path,label\na,b\n")
    write_table(table, True)
    assert "std" in (tmp_path / "sweep.csv").read_text() and "ci95" not in (tmp_path / "sweep.csv").read_text()
    print_all(table)
    out = capsys.readouterr().out
    assert "val/acc 0.9100, std 0.0100 [0.9000..0.9200] over 3 jobs\n" in out
    assert "CI" not in out and "last/" not in out


def test_seeds_of_one_fold_get_an_interval(tmp_path: Path) -> None:
    rows = [{"data.fold": "1", "seed": str(i), "val/acc": 0.9 + i / 100} for i in range(3)]
    write_table(table_of(tmp_path, rows), True)
    assert "ci95_low" in (tmp_path / "sweep.csv").read_text()


@pytest.mark.parametrize("typed", ["seed=range(5)", "seed=0,1,2,3,4", "seed=range(0,5)", "seed=choice(3,4)"])
def test_job_folders_have_the_swept_seed_and_nothing_that_stays(typed: str) -> None:
    """Not looked up in sys.argv, which is another one where SLURM runs the job."""
    arguments, _ = prepare(["-m", typed, "trainer=cpu", "+trainer.precision=32-true", "hydra/launcher=basic"])
    excluded = "hydra.job.config.override_dirname.exclude_keys=['trainer', 'trainer.precision']"
    assert excluded in arguments and typed in arguments and arguments[-1] == "-m"
    assert job_dir(3, "seed=4") == "3_seed=4" and job_dir(0, "") == "0"


def test_what_stays_in_a_sweep_that_a_yaml_asks_for_is_in_no_name() -> None:
    arguments, _ = prepare(["sweep=seeds", "data.batch_size=8", "optimizer.lr=1e-3,1e-4"])
    assert "hydra.job.config.override_dirname.exclude_keys=['sweep', 'data.batch_size']" in arguments
    assert prepare(["data.batch_size=8"])[0] == ["data.batch_size=8"]


def test_values_are_told_without_the_quotes_of_hydra() -> None:
    typed, _ = prepare(
        ["-m", "data.root=/my photos/[a] = b", "optimizer.lr=1e-3", "+x='it\\'s'", "~y", "seed=null", "z=[1,a]"]
    )
    assert typed_values(text for text in typed if "=" in text and not text.startswith(("-m", "hydra."))) == {
        "data.root": "/my photos/[a] = b", "optimizer.lr": "1e-3", "x": "it's", "seed": "null", "z": "[1,a]",
    }  # fmt: skip
    assert typed_values(['a="${b}"', "c=${d}"]) == {"a": "${b}", "c": "${d}"}


def test_no_spreadsheet_computes_the_tables(tmp_path: Path) -> None:
    """And they read back as they were; spreadsheet_safe=false leaves cells as they are."""
    rows = [{"data.fold": str(i), "head": "=1+1", "val/acc": 0.9 + i / 100, "optimizer.lr": "-1"} for i in range(2)]
    table = table_of(tmp_path, rows)
    for row in table.rows:
        (tmp_path / row["job"] / "report").mkdir(parents=True)
        (tmp_path / row["job"] / "report" / "val_predictions.csv").write_text("path,label\n'=a.png,b\n")
    for safe, cell in ((True, "'=1+1"), (False, "=1+1")):
        write_table(table, safe)
        assert write_out_of_fold(table, safe) == tmp_path / "out_of_fold.csv"
        with (tmp_path / "sweep.csv").open(newline="") as file:
            assert {(row["head"], row["optimizer.lr"]) for row in csv.DictReader(file)} == {(cell, "-1")}
        name = "'=a.png" if safe else "=a.png"
        assert f"0_x,0,{name},b" in (tmp_path / "out_of_fold.csv").read_text()


def sweep_config(folder: Path, *overrides: str) -> Any:
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}, "overrides": {"hydra": list(overrides)}}})
    OmegaConf.set_readonly(config, True)
    return config


def test_each_sweep_has_a_folder_of_its_own(tmp_path: Path) -> None:
    other = "hydra.sweep.subdir=${hydra.job.num}"
    configs = [sweep_config(tmp_path / "sweeps" / "2026-01-01_00-00-00", other) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take_new_folder, configs))
    folders = {Path(config.hydra.sweep.dir) for config in configs}
    assert len(folders) == 8 and set((tmp_path / "sweeps").iterdir()) == folders
    assert folders >= {tmp_path / "sweeps" / "2026-01-01_00-00-00", tmp_path / "sweeps" / "2026-01-01_00-00-00_8"}
    for config in configs:
        overrides = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)
        assert overrides == [other, f'hydra.sweep.dir="{config.hydra.sweep.dir}"']


def test_a_folder_that_was_named_is_kept(tmp_path: Path) -> None:
    config = sweep_config(tmp_path, f"hydra.sweep.dir={tmp_path}")
    take_new_folder(config)
    assert config.hydra.sweep.dir == str(tmp_path) and len(config.hydra.overrides.hydra) == 1


@pytest.mark.slow
def test_a_folder_of_this_second_is_there_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Answer]
) -> None:
    """Of any of the next seconds. The jobs' own settings say the new folder too: they lie in it, and fail at once."""
    monkeypatch.chdir(tmp_path)
    sweeps = tmp_path / "logs" / "sweeps"
    taken = [datetime.now() + timedelta(seconds=n) for n in range(60)]
    names = {time.strftime("%Y-%m-%d_%H-%M-%S") for time in taken}
    for name in names:
        (sweeps / name).mkdir(parents=True)
    answer = command("train", "-m", "data=folder", "data.root=/no where", "seed=0,1")
    assert answer.status == 1 and "2 jobs of the sweep failed" in answer.err
    assert not any(any((sweeps / name).iterdir()) for name in names)
    (place,) = [path for path in sweeps.iterdir() if path.name not in names]
    assert place.name.endswith("_2")
    assert {path.name for path in place.iterdir()} >= {"0_seed=0", "1_seed=1", "sweep.csv"}
    with (place / "sweep.csv").open(newline="") as file:
        assert [row["data.root"] for row in csv.DictReader(file)] == ["/no where"] * 2


@pytest.mark.slow
def test_four_sweeps_at_once(tmp_path: Path, colors: Path) -> None:
    arguments = [
        "-m", "data=folder", f"data.root={colors}", "data.image_size_px=32", "trainer=cpu", "trainer.max_epochs=1",
        "freeze=head_only", "augment=none", "data.num_workers=0", "logger=none", "seed=0", "data.cache=none",
    ]  # fmt: skip
    environ = {"PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    started = [
        subprocess.Popen([sys.executable, "-m", "src.train", *arguments], cwd=tmp_path, env=environ) for _ in range(4)
    ]
    assert [process.wait() for process in started] == [0] * 4
    sweeps = list((tmp_path / "logs" / "sweeps").iterdir())
    assert len(sweeps) == 4 and all(len(runs_of(str(sweep))) == 1 for sweep in sweeps)
