"""Entries of the cache that were damaged, are half filled, used by another run, or too many."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import run_train
from support.kept import SMALL, data_of, entries
from support.slow import mostly_slow

from src.data.cache.entries import new_entry, open_entry
from src.data.cache.locks import OWNER, filling_alone, machine
from src.data.cache.manifest import find_damage
from src.data.cache.room import MANIFEST, make_room
from src.settings.errors import ConfigError

NAME = "images_0123456789abcdef0123"


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def overwrite(file: Path) -> None:
    size = file.stat().st_size
    file.write_bytes(bytes(byte ^ 255 for byte in file.read_bytes()[:64]) + file.read_bytes()[64:])
    assert file.stat().st_size == size


def remove(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize(
    ("name", "damage"),
    mostly_slow(
        itertools.product(["pixels.bin", "index.npz", "unreadable.json", MANIFEST], [cut, empty, overwrite, remove]),
        ("pixels.bin", overwrite), ("index.npz", cut), (MANIFEST, remove),
    ),
)  # fmt: skip
def test_a_damaged_entry_of_images_is_made_anew(
    tmp_path: Path, colors: Path, name: str, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    data = data_of(colors, tmp_path)
    rows = data.table.splits["val"]
    expected = [data.image_dataset(rows, training=False)[n]["image"] for n in range(len(rows))]
    (entry,) = (tmp_path / "cache").iterdir()
    damage(entry / name)
    dataset = data_of(colors, tmp_path).image_dataset(rows, training=False)
    assert "is made anew" in caplog.text and name in caplog.text
    assert all(torch.equal(dataset[n]["image"], expected[n]) for n in range(len(rows)))
    assert entries(tmp_path) == [entry.name] and not find_damage(entry, read_all=True)


@pytest.mark.parametrize("damage", mostly_slow([cut, overwrite], overwrite))
def test_damaged_features_are_computed_anew(tmp_path: Path, colors: Path, damage: Callable[[Path], None]) -> None:
    given = [*SMALL, f"data.root={colors}", f"data.cache_dir={tmp_path}/cache", "trainer.max_epochs=1", "test=false"]
    first = run_train(tmp_path / "first", *given)
    for file in (tmp_path / "cache").glob("*/features.bin"):
        damage(file)
    second = run_train(tmp_path / "second", *given)
    assert second.log.count("is made anew") == 2 and second.metrics["val/loss"] == first.metrics["val/loss"]
    one, other = first.checkpoint("last")["state_dict"], second.checkpoint("last")["state_dict"]
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_file_in_the_place_of_an_entry_is_replaced(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("no entry")
    open_entry(tmp_path / NAME, lambda folder: folder.joinpath("pixels.bin").write_bytes(b"1") and None).close()
    assert (tmp_path / NAME / "pixels.bin").read_bytes() == b"1"


def test_an_entry_that_goes_away_during_the_run_is_done_without(tmp_path: Path, colors: Path) -> None:
    data = data_of(colors, tmp_path)
    rows = data.table.splits["train"]
    dataset, plain = data.image_dataset(rows, training=True), data_of(colors, tmp_path, "data.cache=none")
    (entry,) = (tmp_path / "cache").iterdir()
    before = dataset[0, 0]["image"]
    cut(entry / "pixels.bin")
    last = len(rows) - 1
    assert torch.equal(dataset[0, 0]["image"], before)
    assert torch.equal(dataset[1, last]["image"], plain.image_dataset(rows, training=True)[1, last]["image"])
    shutil.rmtree(tmp_path / "cache")
    dataset.prepared.pixels = None  # type: ignore[union-attr]  # as in another process
    assert torch.equal(dataset[0, 0]["image"], before)


def test_an_image_that_can_be_read_again_does_not_stay_unreadable(tmp_path: Path, colors: Path) -> None:
    """Its disk had failed, say: size and time of the file are what they were."""
    images = tmp_path / "images"
    shutil.copytree(colors, images)
    data = data_of(images, tmp_path)
    rows = data.table.splits["val"]
    file = data.table.file(int(rows[0]))
    assert file is not None
    whole, stat = file.read_bytes(), file.stat()
    file.write_bytes(b"\0" * len(whole))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert "image" not in data.image_dataset(rows, training=False)[0]
    file.write_bytes(whole)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert "image" in data_of(images, tmp_path).image_dataset(rows, training=False)[0]


# ------------------------------------------------------------------------------------------------- several runs at once

FILLER = """
import sys, time
from pathlib import Path
from src.data.cache.entries import open_entry
def fill(folder):
    print("filling", flush=True)
    sys.stdin.readline()
    (folder / "pixels.bin").write_bytes(b"the other's")
open_entry(Path(sys.argv[1]), fill)
"""


def other_run(entry: Path) -> subprocess.Popen[str]:
    """Another run, which has begun to fill the entry, and ends it when it is told to."""
    command = [sys.executable, "-c", FILLER, str(entry)]
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None and run.stdout.readline() == "filling\n"
    return run


def test_a_second_run_waits_for_the_first_and_says_whose_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    other = other_run(tmp_path / NAME)
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            other.communicate("go on\n")

    monkeypatch.setattr(time, "sleep", sleep)
    open_entry(tmp_path / NAME, lambda folder: pytest.fail("filled twice")).close()
    assert (tmp_path / NAME / "pixels.bin").read_bytes() == b"the other's" and len(waited) >= 2
    assert f"Waiting for {tmp_path / NAME}, which another run fills (process {other.pid} on " in caplog.text
    assert entries_in(tmp_path) == [NAME]


def test_ctrl_c_while_an_entry_is_filled_leaves_nothing_behind(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "pixels.bin").write_bytes(b"half")
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        open_entry(tmp_path / NAME, fill)
    assert entries_in(tmp_path) == []


def test_what_a_killed_run_left_is_neither_waited_for_nor_kept(tmp_path: Path) -> None:
    other = other_run(tmp_path / NAME)
    assert len(entries_in(tmp_path)) == 2  # its folder and its lock
    make_room(tmp_path, 1.0)
    assert len(entries_in(tmp_path)) == 2  # it lives
    other.kill()
    other.communicate()
    open_entry(tmp_path / NAME, lambda folder: folder.joinpath("pixels.bin").write_bytes(b"1") and None, 1.0).close()
    assert entries_in(tmp_path) == [NAME]


def entries_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_half_filled_folders_of_others_stay(tmp_path: Path) -> None:
    owners = {"unknown": None, "elsewhere": {"locked": True, "machine": "another"}, "unlocked": {"locked": False}}
    for name, owner in owners.items():
        folder = tmp_path / f"{NAME}.{name}.tmp"
        folder.mkdir()
        (folder / "pixels.bin").write_bytes(b"1")
        if owner is not None:
            (folder / OWNER).write_text(json.dumps({"machine": machine(), **owner}))
    with new_entry(tmp_path / NAME) as temporary:
        (temporary / "pixels.bin").write_bytes(b"1")
    make_room(tmp_path, 1.0)
    assert len(entries_in(tmp_path)) == 4
    for path in (*(tmp_path / f"{NAME}.unknown.tmp").iterdir(), tmp_path / f"{NAME}.unknown.tmp"):
        os.utime(path, (1, 1))
    make_room(tmp_path, 1.0)
    assert len(entries_in(tmp_path)) == 3  # nobody has written there for a week


def test_of_two_that_fill_the_same_entry_one_wins(tmp_path: Path) -> None:
    """Where the disk knows no locks."""
    with new_entry(tmp_path / NAME) as slow, new_entry(tmp_path / NAME) as fast:
        (slow / "pixels.bin").write_bytes(b"slow")
        (fast / "pixels.bin").write_bytes(b"fast")
    assert entries_in(tmp_path) == [NAME] and (tmp_path / NAME / "pixels.bin").read_bytes() == b"fast"


def test_an_error_while_filling_leaves_nothing_behind(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "pixels.bin").write_bytes(b"1")
        raise OSError(28, "No space left on device")

    with pytest.raises(ConfigError, match=r"data\.cache_dir='.*' cannot be written \(No space left on device\)"):
        open_entry(tmp_path / NAME, fill)
    with pytest.raises(KeyboardInterrupt), filling_alone(tmp_path / NAME), new_entry(tmp_path / NAME):
        raise KeyboardInterrupt
    assert entries_in(tmp_path) == []


# ------------------------------------------------------------------------------------------------------------ the bound


def filled(folder: Path, used: int, size: int = 1000) -> Path:
    with new_entry(folder) as temporary:
        (temporary / "pixels.bin").write_bytes(b"\1" * size)
    os.utime(folder / MANIFEST, (used, used))
    return folder


def test_entries_that_were_not_used_for_longest_are_deleted_first(tmp_path: Path) -> None:
    names = [f"features_{n:020x}" for n in range(4)]
    for n, used in enumerate((30, 10, 40, 20)):
        filled(tmp_path / names[n], used)
    size = sum(file.stat().st_size for file in (tmp_path / names[0]).iterdir())
    foreign = [tmp_path / "results.csv", tmp_path / f"{NAME}.bak", tmp_path / "images_of_mine"]
    for folder in foreign[1:]:
        filled(folder, used=1)
    foreign[0].write_text("mine")
    filled(tmp_path / NAME, used=1)
    (tmp_path / NAME / "notes.txt").write_text("somebody's")
    make_room(tmp_path, 3 * size / 1e9)
    left = {names[0], names[2], names[3]}
    assert set(entries_in(tmp_path)) == {*left, *(path.name for path in foreign), NAME}


def test_what_is_in_use_is_not_deleted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old = filled(tmp_path / NAME, used=1)
    script = "import sys; from pathlib import Path; from src.data.cache.locks import lock_shared\n"
    script += "lock = lock_shared(Path(sys.argv[1])); print('in use', flush=True); sys.stdin.readline()"
    command = [sys.executable, "-c", script, str(old / MANIFEST)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout is not None and user.stdout.readline() == "in use\n"
        make_room(tmp_path, 0.0)
        assert old.is_dir() and "the rest is in use" in caplog.text
        user.communicate("\n")
    make_room(tmp_path, 0.0)
    assert entries_in(tmp_path) == []


def test_a_run_keeps_the_cache_within_its_bound(tmp_path: Path, colors: Path) -> None:
    given = ["data.cache_gb=0.00002"]  # 20 kB, of which an entry of val alone has 9 x 3 kB
    data = data_of(colors, tmp_path, *given)
    first = data.image_dataset(data.table.splits["val"], training=False)
    assert len(entries(tmp_path)) == 1 and "image" in first[0]
    del first
    data.image_dataset(data.table.splits["test"], training=False)
    assert len(entries(tmp_path)) == 1
    bound = data_of(colors, tmp_path, "data.cache_gb=null").cache.most_gb
    assert bound is None
