"""Images that go away while a run trains, are damaged by and by, or cannot be read from the beginning."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Run, run_train, typed
from lightning import Callback, LightningModule, Trainer

from src.build.data import build_datamodule
from src.data.dataset import MAX_SUBSTITUTES
from src.files.csv_files import read_csv_file
from src.settings.errors import RunStopped
from src.training.callbacks.readable_images import MAX_EMPTY_BATCHES
from src.training.callbacks.unreadable_images import MAX_SAID, UnreadableImages

SMALL = ("data=folder", "data.image_size_px=32", "data.batch_size=16", "trainer.max_epochs=3", "test=false")


@pytest.fixture
def images(colors: Path, tmp_path: Path) -> Path:
    shutil.copytree(colors, tmp_path / "images")
    return tmp_path / "images"


class Happening(Callback):
    """Once, at the beginning of an epoch: the images are moved away, or some of them are cut off."""

    batches = 0  # of that epoch

    def __init__(self, root: str, cut: list[str] | None = None, epoch: int = 1) -> None:
        self.root, self.cut, self.epoch = Path(root), cut, epoch

    def on_train_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        mark = self.root.with_name("happened")
        if trainer.current_epoch != self.epoch:
            return
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:  # it has happened, perhaps by the other process
            return
        Happening.batches = 0
        for name in self.cut or ():
            (self.root / name).write_bytes(b"cut off")
        if self.cut is None:
            self.root.rename(self.root.with_name("gone"))

    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int) -> None:
        Happening.batches += 1


def happening(images: Path) -> list[str]:
    return ["+callbacks.happening._target_=test_unreadable_images.Happening", f"+callbacks.happening.root={images}"]


def test_images_that_vanish_end_the_run_which_goes_on_when_they_are_back(tmp_path: Path, images: Path) -> None:
    given = [*SMALL, f"data.root={images}"]
    whole = run_train(tmp_path / "whole", *given)
    with pytest.raises(RunStopped) as stopped:
        run_train(tmp_path / "cut", *given, *happening(images))
    text = str(stopped.value)
    assert stopped.value.status == 1 and "None of 9 val images of epoch 2 could be read" in text
    assert "No such file" in text and f"looked for in {images}" in text and f"resume={tmp_path}/cut" in text
    cut = Run(tmp_path / "cut", None)
    assert cut.checkpoint("last")["epoch"] == cut.checkpoint("best")["epoch"] == 0
    assert not (cut.directory / "unreadable.csv").exists()  # nothing is damaged
    (tmp_path / "gone").rename(images)
    resumed = run_train(cut.directory, f"resume={cut.directory}", "trust=true")
    one, other = whole.checkpoint("last")["state_dict"], resumed.checkpoint("last")["state_dict"]
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_without_val_the_training_ends_by_itself(tmp_path: Path, images: Path) -> None:
    given = [*SMALL, f"data.root={images}", "+trainer.limit_val_batches=0", "callbacks=none", *happening(images)]
    with pytest.raises(RunStopped, match=r"None of \d+ train images of epoch 2 could be read"):
        run_train(tmp_path / "run", *given)


def test_a_long_epoch_is_not_tried_to_its_end(tmp_path: Path, images: Path) -> None:
    """Of 54 batches of one image each."""
    single = ["data.batch_size=1", "data.val_fraction=0.1", "data.test_fraction=0"]
    with pytest.raises(RunStopped, match="train images of epoch 2 could be read"):
        run_train(tmp_path / "run", *SMALL, f"data.root={images}", *single, *happening(images))
    assert MAX_EMPTY_BATCHES <= Happening.batches + 1 < 54


def test_a_share_that_grows_is_warned_about(tmp_path: Path, images: Path) -> None:
    table = build_datamodule(typed(*SMALL, f"data.root={images}", "data.num_workers=0", "data.cache=none")).table
    cut = table.paths[table.splits["val"]][:3].tolist()
    names = f"+callbacks.happening.cut=[{','.join(cut)}]"
    run = run_train(tmp_path / "run", *SMALL, f"data.root={images}", *happening(images), names)
    assert "33.3 % of the val images of epoch 2 could not be read (it was 0.0%): 3." in run.log
    assert run.log.count("could not be read") == 1  # and not again in the third
    assert {row["path"] for row in run.csv("unreadable.csv")} == set(cut)


def test_evaluate_measures_nothing_of_nothing(tmp_path: Path, images: Path, colors_run: Run, command: Any) -> None:
    for file in images.rglob("*.*"):
        file.write_bytes(b"")
    given = ["data=folder", f"data.root={images}", f"output={tmp_path}/metrics.json", "data.num_workers=0"]
    answer = command("evaluate", f"ckpt={colors_run.directory}", *given)
    assert answer.status == 1 and "None of 60 test images could be read" in answer.err
    assert "Traceback" not in answer.err and "acc" not in answer.out and not (tmp_path / "metrics.json").exists()


def test_a_batch_of_nothing_does_not_try_the_substitutes_of_every_image(images: Path) -> None:
    data = build_datamodule(typed(*SMALL, f"data.root={images}", "data.num_workers=0", "data.cache=none"))
    rows = data.table.splits["train"]
    dataset = data.image_dataset(rows, training=True)
    shutil.rmtree(images)
    items = dataset.__getitems__([(0, position) for position in range(16)])
    tried = [len(item["unreadable"]) for item in items]
    assert tried == [min(MAX_SUBSTITUTES, len(rows)), *[1] * 15]


def test_a_damaged_image_is_listed_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a resumed run too; the list can be opened with a spreadsheet and read back."""
    trainer: Any = SimpleNamespace(is_global_zero=True)
    for _ in range(2):
        callback = UnreadableImages(str(tmp_path / "unreadable.csv"))
        callback.setup(trainer, None, "fit")  # type: ignore[arg-type]
        for batch in ([("=a.jpg", "broken")], [("=a.jpg", "broken"), ("b.jpg", "empty")]):
            callback.see(trainer, "train", None, {"unreadable": batch}, 0)
            callback.write_list(trainer)
    lines = (tmp_path / "unreadable.csv").read_text().splitlines()
    assert lines == ["path,reason", "'=a.jpg,broken", "b.jpg,empty"]
    assert [row["path"] for row in read_csv_file(tmp_path / "unreadable.csv")] == ["=a.jpg", "b.jpg"]
    callback.see(trainer, "train", None, {"unreadable": [(f"{n}.jpg", "\x1b[2J") for n in range(100)]}, 0)
    assert caplog.text.count("Skipped, cannot be read") <= MAX_SAID + 2 and "\x1b" not in caplog.text


def test_with_kept_features_the_run_ends_when_it_measures_images(tmp_path: Path, images: Path) -> None:
    """TensorBoard's first images are read too, and are not there any more."""
    given = [*SMALL, f"data.root={images}", "freeze=head_only", "augment=none", f"data.cache_dir={tmp_path}/cache"]
    given += ["data.cache=auto", "logger=tensorboard", *happening(images), "+callbacks.happening.epoch=0"]
    with pytest.raises(RunStopped, match="None of 9 val images could be read"):
        run_train(tmp_path / "run", *given)
    assert Run(tmp_path / "run", None).checkpoint("last")["epoch"] == 2
    assert not (tmp_path / "run" / "metrics.json").exists()


def stopped_of_two(rank: int, port: int, folder: str, common: list[str]) -> None:
    import os

    from src.cli import command as cli
    from src.settings.schema import register

    torch.set_num_threads(1)
    register()
    cli.register_resolvers()
    os.environ.update(LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    try:
        run_train(Path(folder) / "run", *common)
    except RunStopped as stopped:
        Path(folder, f"{rank}.txt").write_text(str(stopped))


@pytest.mark.slow
def test_all_processes_end_together(tmp_path: Path, images: Path) -> None:
    from support.processes import run_two

    ddp = ["trainer.devices=2", "trainer.strategy=ddp", "data.batch_size=4"]
    assert run_two(stopped_of_two, tmp_path, [*SMALL, f"data.root={images}", *happening(images), *ddp]) == [0, 0]
    first, second = ((tmp_path / f"{rank}.txt").read_text() for rank in range(2))
    assert first == second and "None of 9 val images of epoch 2" in first
    assert Run(tmp_path / "run", None).checkpoint("last")["epoch"] == 0
