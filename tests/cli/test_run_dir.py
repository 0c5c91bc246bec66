"""The directory of a run: nobody else's, from its making to the run's end."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Answer, Run

from src.cli.run_dir import held, new_dir, remove_if_unused, run_dir
from src.settings.errors import ConfigError
from src.settings.project import PROJECT_ROOT


def test_runs_that_start_together_have_directories_of_their_own(tmp_path: Path) -> None:
    found: list[Path] = []
    starts = [threading.Thread(target=lambda: found.append(new_dir(tmp_path / "run"))) for _ in range(16)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert len(set(found)) == 16 and all(path.is_dir() for path in found)


def test_long_names_are_shortened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Path(run_dir(None, "ü" * 300)).is_dir()


HOLD = "from pathlib import Path; from src.cli.run_dir import held\nwith held(Path({folder!r})): {inside}"


def test_a_second_run_is_told_whose_directory_it_is(tmp_path: Path) -> None:
    script = HOLD.format(folder=str(tmp_path), inside="print('held', flush=True); input()")
    other = subprocess.Popen(
        [sys.executable, "-c", script], cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    with pytest.raises(ConfigError, match=rf"in use by another run \(process {other.pid} on "), held(tmp_path):
        pass
    other.communicate("\n")
    with held(tmp_path):
        assert json.loads((tmp_path / ".owner.json").read_text())["process"] == os.getpid()
    assert not (tmp_path / ".owner.json").exists()


def test_a_run_that_died_leaves_its_directory_free(tmp_path: Path) -> None:
    script = HOLD.format(folder=str(tmp_path), inside="import os; os._exit(9)")
    assert subprocess.run([sys.executable, "-c", script], cwd=PROJECT_ROOT).returncode == 9
    assert (tmp_path / ".owner.json").exists()
    with held(tmp_path):
        pass


def test_an_unused_directory_goes_away(tmp_path: Path) -> None:
    with held(tmp_path / "a"):
        pass
    remove_if_unused(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_the_command_refuses_a_directory_in_use(
    tmp_path: Path, colors_run: Run, command: Callable[..., Answer]
) -> None:
    with held(tmp_path / "run"):
        before = sorted(path.name for path in (tmp_path / "run").iterdir())
        answer = command("train", f"output_dir={tmp_path}/run", "debug=fast_dev_run", "trainer.accelerator=cpu")
        assert answer.status == 1 and "is in use by another run (process" in answer.err
        assert sorted(path.name for path in (tmp_path / "run").iterdir()) == before
