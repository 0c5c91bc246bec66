"""What a foreign checkpoint says of a run that is to go on: nothing outside its directory is touched."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Answer, Run, compose, run_train
from support.slow import one_in

from src.build.data import data_to_evaluate
from src.runs.checkpoint import AtomicCheckpointIO, load_checkpoint, plain
from src.runs.progress import RULES, Progress
from src.runs.record import RunRecord
from src.runs.resumed_state import STATE, check_resumable
from src.settings.errors import ConfigError, RunStopped
from src.train import train


@pytest.fixture(scope="module")
def run(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory = tmp_path_factory.mktemp("state") / "run"
    return run_train(
        directory, "data=folder", f"data.root={colors}", "data.image_size_px=32", "trainer.max_epochs=1", "test=false"
    )


def resumed(run: Run, tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of the run with one epoch more to train, whose last.ckpt is changed."""
    folder = tmp_path / "run"
    shutil.copytree(run.directory, folder)
    checkpoint = Run(folder, None).checkpoint("last")
    checkpoint["finetune"]["config"]["trainer"]["max_epochs"] = 2
    checkpoint["finetune"]["phase_epochs"] = [2]
    change(checkpoint)
    torch.save(checkpoint, folder / "checkpoints" / "last.ckpt")
    return folder


def go_on(folder: Path) -> None:
    train(compose(f"output_dir={folder.parent}/unused", f"resume={folder}"))


def states(checkpoint: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        state for key, state in checkpoint["callbacks"].items() if key.startswith(("BestCheckpoint", "ModelCheckpoint"))
    ]


def test_nothing_outside_the_run_is_removed_or_written(run: Run, tmp_path: Path) -> None:
    """Lightning removes what a ModelCheckpoint's state names, folders too, and the best weights are written back."""
    victim, other = tmp_path / "victim", tmp_path / "other" / "best.ckpt"
    victim.mkdir()
    (victim / "file").write_text("x")
    other.parent.mkdir()
    shutil.copy(run.directory / "checkpoints" / "best.ckpt", other)
    before = other.read_bytes()

    def change(checkpoint: dict[str, Any]) -> None:
        best, last = sorted(states(checkpoint), key=lambda state: state["monitor"] is None)
        last["best_model_path"] = f"local://{victim}"
        best |= {
            "best_model_path": str(other),
            "kth_best_model_path": str(tmp_path / "run/../victim"),
            "kth_value": 9.0,
        }
        best["best_k_models"] = {str(other): torch.tensor(9.0)}

    folder = resumed(run, tmp_path, change)
    go_on(folder)
    assert (victim / "file").exists() and other.read_bytes() == before
    assert len(Run(folder, None).csv("epochs.csv")) == 2 and (folder / "checkpoints" / "best.ckpt").is_file()


def test_a_state_that_a_fused_optimizer_would_write_beyond(run: Run, tmp_path: Path) -> None:
    def change(checkpoint: dict[str, Any]) -> None:
        for state in checkpoint["optimizer_states"][0]["state"].values():
            state["exp_avg"] = state["exp_avg_sq"] = torch.zeros(1)

    with pytest.raises(RunStopped, match="a state 'exp_avg' of the shape"):
        go_on(resumed(run, tmp_path, change))


def test_the_memory_layout_may_change(run: Run, tmp_path: Path) -> None:
    def change(checkpoint: dict[str, Any]) -> None:
        checkpoint["finetune"]["config"]["channels_last"] = False

    folder = resumed(run, tmp_path, change)
    go_on(folder)
    assert len(Run(folder, None).csv("epochs.csv")) == 2


def test_links_out_of_a_run_are_refused(run: Run, tmp_path: Path, command: Callable[..., Answer]) -> None:
    folder = resumed(run, tmp_path, lambda checkpoint: None)
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    (folder / "config.yaml").unlink()
    (folder / "config.yaml").symlink_to(mine)
    answer = command("train", f"resume={folder}")
    assert answer.status == 1 and "is a link that leads out of it" in answer.err and mine.read_text() == "mine"


def test_checkpoints_stay_in_their_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "out.ckpt").write_text("mine")
    files = AtomicCheckpointIO(tmp_path / "run")
    for path in (tmp_path / "out.ckpt", tmp_path / "run" / ".." / "out.ckpt"):
        with pytest.raises(RunStopped, match="outside the run's directory"):
            files.save_checkpoint({}, path)
        with pytest.raises(RunStopped, match="outside the run's directory"):
            files.remove_checkpoint(path)
    files.save_checkpoint({}, tmp_path / "run" / "a.ckpt")
    files.remove_checkpoint(tmp_path / "run")
    files.remove_checkpoint(tmp_path / "run" / "a.ckpt")
    assert (tmp_path / "out.ckpt").read_text() == "mine" and not list((tmp_path / "run").iterdir())


WRONG = [None, "x", -5, 1.5, ["a"], {5: "x"}, {"EpochLog": "x"}, 10**30, float("nan"), [10**30]]
RIGHT = {"fit_seconds": [1.5]}


def check(checkpoint: dict[str, Any]) -> None:
    file = Path("a.ckpt")
    check_resumable(checkpoint, RunRecord.of(checkpoint, file), Progress.of(checkpoint, file), file)


@pytest.mark.parametrize("entry", [*RULES, *STATE])
def test_each_wrong_entry_is_named(run: Run, entry: str) -> None:
    whole, _ = load_checkpoint(run.directory / "checkpoints" / "last.ckpt")
    check(whole)
    for value in WRONG:
        if value in RIGHT.get(entry, []):
            continue
        checkpoint = copy.copy(whole)
        checkpoint["finetune"] = {**whole["finetune"]}
        (checkpoint if entry in STATE else checkpoint["finetune"])[entry] = value
        with pytest.raises(ConfigError, match=rf"{entry} is .*not "):
            check(checkpoint)


@pytest.mark.parametrize(
    "change",
    one_in(
        4,
        [
            lambda c: c["callbacks"]["EpochLog"].update(best={"x": 1}),
            lambda c: c["optimizer_states"][0]["param_groups"][0].update(lr="x"),
            lambda c: c["optimizer_states"][0]["param_groups"][0].pop("betas"),
            lambda c: c["optimizer_states"].clear(),
            lambda c: c["lr_schedulers"][0].update(last_epoch="x"),
            lambda c: c["loops"]["fit_loop"].pop("epoch_loop.batch_progress", None) or c["loops"].update(fit_loop=5),
            lambda c: c["finetune"]["training_metrics"].update(train_acc={"update": torch.ones(1)}),
        ],
    ),
)
def test_states_that_do_not_fit_are_a_message(
    run: Run, tmp_path: Path, command: Callable[..., Answer], change: Callable[[dict[str, Any]], None]
) -> None:
    answer = command("train", f"resume={resumed(run, tmp_path, change)}")
    assert "Traceback" not in answer.err


def test_only_plain_data_within_bounds() -> None:
    file = Path("a.ckpt")
    assert plain({"a": (1, [None, 1.5, "x", True])}, file) == {"a": [1, [None, 1.5, "x", True]]}
    circle: list[Any] = []
    circle.append(circle)
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    wrong = [{1}, 1j, {1: 2}, torch.float32, object(), circle, deep, 10**30, b"x", torch.eye(2).to_sparse()]
    for value in wrong:
        with pytest.raises(ConfigError, match=r"a\.ckpt' cannot be used"):
            plain({"x": value}, file)


def test_a_checkpoint_fetches_no_data(run: Run, tmp_path: Path) -> None:
    record = copy.deepcopy(run.checkpoint("best")["finetune"])
    target = "src.data.formats.torchvision_sets.TorchvisionDataModule"
    record["config"]["data"] = {"_target_": target, "name": "MNIST", "root": str(tmp_path / "new"), "batch_size": 4}
    (tmp_path / "new").mkdir()
    with pytest.raises(ConfigError, match=r"is not complete in data\.root"):
        data_to_evaluate({}, RunRecord.of({"finetune": record}, tmp_path))
    assert not list((tmp_path / "new").iterdir())
