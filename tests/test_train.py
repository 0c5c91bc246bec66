import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import Answer, Run, Runner, compose, resolved, run_train
from support.slow import mostly_slow, one_in, slow
from support.watching import TRUSTED, Stop, stopped

from src.settings.errors import ConfigError
from src.train import train


@pytest.fixture(scope="module")
def plain(colors: Path) -> tuple[str, ...]:
    return ("data=folder", f"data.root={colors}", "data.image_size_px=32", "data.batch_size=16", "test=false")


# ------------------------------------------------------------------------------------------------------ what a run is


def test_a_run_learns_and_leaves_its_directory(colors_run: Run) -> None:
    metrics = colors_run.metrics
    assert metrics["val/acc"] == colors_run.monitored >= 0.9 and metrics["test/acc"] >= 0.8
    assert metrics["epochs"] == 4 and metrics["steps"] == 4 * 3  # 42 images in batches of 16
    for name in ("val/loss", "val/f1", "val/balanced_acc", "last/val/acc", "last/train/loss", "fit_seconds"):
        assert name in metrics, name
    names = {path.name for path in colors_run.directory.iterdir()}
    expected = {"config.yaml", "metrics.json", "environment.json", "split.csv", "checkpoints", "tensorboard", "report"}
    assert expected <= names and "unreadable.csv" not in names
    assert len(colors_run.csv("split.csv")) == 60
    classes = colors_run.csv("report/test_classes.csv")
    assert [row["class"] for row in classes] == ["blue", "green", "red"]
    right = sum(float(row["recall"]) * int(row["images"]) for row in classes)
    assert right / 9 == pytest.approx(metrics["test/acc"], abs=1e-3)
    assert (colors_run.directory / "report" / "test_confusion.png").stat().st_size > 5000
    environment = json.loads((colors_run.directory / "environment.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__.split("+")[0]


def test_config_yaml_is_resolved(colors_run: Run) -> None:
    config = resolved(colors_run.directory / "config.yaml")
    assert "${" not in (colors_run.directory / "config.yaml").read_text()
    assert config["callbacks"]["best_checkpoint"]["monitor"] == "val/acc"


@pytest.mark.parametrize("name", ["best", "last"])
def test_checkpoints_are_plain_data(colors_run: Run, name: str) -> None:
    checkpoint = colors_run.checkpoint(name)  # weights_only=True
    record = checkpoint["finetune"]
    assert record["class_names"] == ["blue", "green", "red"]
    assert record["preprocessing"]["crop_px"] == 32 and record["preprocessing"]["resize_px"] == 37
    assert record["config"]["optimizer"]["lr"] == 1e-3 and "torch" in record["versions"]
    assert Path(record["config"]["data"]["root"]).is_absolute()


def test_best_is_the_best_and_last_the_last(colors_run: Run) -> None:
    best, last = colors_run.checkpoint("best"), colors_run.checkpoint("last")
    assert last["epoch"] == 3 and best["epoch"] <= 3
    scores = [entry["best_model_score"] for key, entry in last["callbacks"].items() if "val/acc" in key]
    assert float(scores[0]) == pytest.approx(colors_run.metrics["val/acc"])


def test_the_fine_tuned_network_loads_into_plain_torchvision(colors_run: Run) -> None:
    from torchvision.models import squeezenet1_1

    state = colors_run.checkpoint()["state_dict"]
    net = {key.removeprefix("model.net."): v for key, v in state.items() if key.startswith("model.net.")}
    network = squeezenet1_1(num_classes=3)
    network.classifier[2] = torch.nn.Identity()  # docs/architecture.md says why
    network.load_state_dict(net)


def test_tensorboard_shows_scalars_images_text_and_hyperparameters(colors_run: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(colors_run.directory / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    tags = events.Tags()
    assert {"train/loss", "train/acc", "val/loss", "val/acc", "lr", "test/acc"} <= set(tags["scalars"])
    assert {"train/images", "val/confusion", "test/confusion"} <= set(tags["images"])
    assert "config/text_summary" in tags["tensors"]
    assert len(events.Scalars("val/acc")) == 4
    rates = [scalar.value for scalar in events.Scalars("lr")]
    assert max(rates[:6]) == pytest.approx(1e-2, rel=0.2) and max(rates[6:]) <= 1e-3
    plugins = events.summary_metadata
    assert any("hparams" in metadata.plugin_data.plugin_name for metadata in plugins.values())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You requested to overfit")  # Lightning: it does not shuffle then
def test_one_batch_overfits(trained: Runner, plain: tuple[str, ...]) -> None:
    run = trained(*plain, "debug=overfit", "optimizer.lr=1e-3", "trainer.max_epochs=15")
    assert run.metrics["last/train/loss"] < 0.05


def test_fast_dev_run_leaves_no_checkpoint(trained: Runner) -> None:
    run = trained("debug=fast_dev_run")
    assert not (run.directory / "checkpoints").exists() and not (run.directory / "metrics.json").exists()


def test_callbacks_none_tests_the_last_weights(trained: Runner, plain: tuple[str, ...]) -> None:
    run = trained(*plain, "callbacks=none", "trainer.max_epochs=1", "test=true")
    assert run.metrics["val/acc"] == run.metrics["last/val/acc"] and "test/acc" in run.metrics


def test_damaged_images_are_listed_once_and_do_not_end_the_run(tmp_path: Path, trained: Runner) -> None:
    from conftest import COLORS, paint

    for split in ("train", "val"):
        for seed, color in enumerate(COLORS):
            paint(tmp_path / "data" / split / color, color, 8, seed)
    victims = [next((tmp_path / "data" / split / "red").iterdir()) for split in ("train", "val")]
    for victim in victims:
        victim.write_bytes(b"damaged")
    run = trained("data=folder", f"data.root={tmp_path}/data", "data.image_size_px=32")
    rows = run.csv("unreadable.csv")
    assert sorted(row["path"] for row in rows) == ["train/red/" + victims[0].name, "val/red/" + victims[1].name]
    assert all("cannot identify" in row["reason"] for row in rows)
    assert run.log.count(f"Skipped, cannot be read: train/red/{victims[0].name} (cannot identify image file)") == 1
    assert "2 images cannot be read" in run.log
    assert run.metrics["val/acc"] <= 1 and "test/acc" not in run.metrics
    assert "There is no test split" in run.log


def test_accumulation_clipping_and_layout(trained: Runner, plain: tuple[str, ...]) -> None:
    run = trained(
        *plain, "trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=1.0", "channels_last=false",
        "trainer.precision=bf16-mixed", "trainer.max_epochs=1",
    )  # fmt: skip
    assert run.metrics["steps"] == 2  # three batches


@pytest.mark.parametrize("optimizer", mostly_slow(["adamw", "adam", "nadam", "sgd", "rmsprop"], "sgd"))
def test_every_optimizer_trains(optimizer: str, trained: Runner, plain: tuple[str, ...]) -> None:
    run = trained(
        *plain,
        f"optimizer={optimizer}",
        "freeze=head_only",
        "trainer.max_epochs=8",
        "+trainer.check_val_every_n_epoch=4",
    )
    assert run.metrics["last/val/loss"] < 0.9 and run.metrics["val/acc"] > 0.6


def test_early_stopping_ends_a_phase_and_not_the_run(trained: Runner, plain: tuple[str, ...]) -> None:
    run = trained(
        *plain, "callbacks=early_stopping", "callbacks.early_stopping.patience=1", "trainer.max_epochs=12",
        "callbacks.early_stopping.min_delta=0.9", "freeze=head_then_all", "freeze.phases.0.epochs=6",
    )  # fmt: skip
    assert run.log.count("this phase ends") == 2
    assert run.metrics["epochs"] == 4 and "Phase 2 of 2, epochs 3 to 8" in run.log


def test_a_phase_may_have_its_own_optimizer_and_schedule(trained: Runner, plain: tuple[str, ...]) -> None:
    run = trained(
        *plain, "logger=tensorboard", "trainer.log_every_n_steps=1",
        "freeze.phases=[{train: head, epochs: 1, optimizer: {_target_: torch.optim.SGD, lr: 0.05}, "
        "scheduler: {_target_: src.training.schedules.constant}}, {train: all, lr_factor: 0.5}]",
        "scheduler=constant",
    )  # fmt: skip
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.directory / "tensorboard"))
    events.Reload()
    assert [round(scalar.value, 6) for scalar in events.Scalars("lr")] == [0.05] * 3 + [0.00015] * 3


# ------------------------------------------------------------------------------------------------------------ resuming


FIRST_WEIGHT = "model.net.features.0.weight"


@pytest.mark.parametrize(
    ("epoch", "settings"),
    [
        slow(1, ["scheduler=cosine", "head=mlp", "augment=strong"]),
        slow(3, ["scheduler=step", "scheduler.step_epochs=2", "optimizer=sgd", "data.num_workers=2"]),
        slow(3, ["scheduler=plateau", "scheduler.patience=0", "scheduler.factor=0.3", "head.dropout=0.5"]),
        (2, ["scheduler=onecycle", "freeze=head_then_all", "freeze.phases.0.epochs=2"]),  # between two phases
        slow(2, ["freeze=head_then_all", "freeze.phases.0.epochs=1", "data.num_workers=2"]),  # within the second
    ],
)
def test_a_resumed_run_ends_as_the_uninterrupted_one(
    tmp_path: Path, plain: tuple[str, ...], epoch: int, settings: list[str]
) -> None:
    """Bit-equal weights, equal metrics, one directory."""
    settings = [*plain, "trainer.max_epochs=4", *settings]
    whole = run_train(tmp_path / "whole", *settings)
    with stopped(epoch) as stopping, pytest.raises(Stop):
        run_train(tmp_path / "run", *settings, *stopping)
    cut = Run(tmp_path / "run", None).checkpoint("last")
    assert cut["epoch"] == epoch - 1
    cfg = compose(f"output_dir={tmp_path}/elsewhere", f"resume={tmp_path}/run", TRUSTED)
    train(cfg)
    resumed = Run(tmp_path / "run", None)
    expected, actual = whole.checkpoint("last"), resumed.checkpoint("last")
    assert actual["epoch"] == 3 and actual["global_step"] == expected["global_step"]
    assert not torch.equal(cut["state_dict"][FIRST_WEIGHT], expected["state_dict"][FIRST_WEIGHT])
    for key, value in expected["state_dict"].items():
        assert torch.equal(value, actual["state_dict"][key]), key
    same = {key: value for key, value in whole.metrics.items() if key != "fit_seconds"}
    assert {key: value for key, value in resumed.metrics.items() if key != "fit_seconds"} == pytest.approx(
        same, nan_ok=True
    )
    assert not (tmp_path / "elsewhere").exists()


@pytest.fixture
def finished(colors_run: Run, tmp_path: Path) -> Run:
    """A copy, to go on with."""
    return Run(Path(shutil.copytree(colors_run.directory, tmp_path / "run")), None)


@pytest.mark.slow
def test_resuming_a_finished_run_only_measures(tmp_path: Path, finished: Run) -> None:
    run, before = finished, finished.metrics
    train(compose(f"output_dir={tmp_path}/x", f"resume={tmp_path}/run/checkpoints/last.ckpt"))
    for name in ("val/acc", "test/acc", "epochs", "steps"):
        assert run.metrics[name] == before[name]


def test_a_run_interrupted_in_its_final_test_is_measured_on_resuming(tmp_path: Path, finished: Run) -> None:
    run, before = finished, finished.metrics
    (run.directory / "metrics.json").unlink()
    train(compose(f"output_dir={tmp_path}/x", f"resume={run.directory}"))
    assert run.metrics["test/acc"] == before["test/acc"] and "fit_seconds" in run.metrics


ODD_NAME = Path("my runs (2)") / "lr=1,seed=0"  # which Hydra would not take unquoted


def test_a_moved_run_resumes_where_it_is_now(tmp_path: Path, finished: Run, command) -> None:
    """Through the command line, with another setting on top."""
    moved = tmp_path / ODD_NAME
    moved.parent.mkdir()
    finished.directory.rename(moved)
    answer: Answer = command("train", f"resume={moved}", "trainer.max_epochs=5")
    assert answer.status == 0, answer.err
    assert "Changed on resuming: trainer.max_epochs=5" in answer.err
    assert not finished.directory.exists()
    assert Run(moved, None).metrics["epochs"] == 5 and Run(moved, None).checkpoint("last")["epoch"] == 4


@pytest.mark.slow
def test_a_moved_run_ends_as_one_that_stayed(tmp_path: Path, plain: tuple[str, ...], command) -> None:
    whole = run_train(tmp_path / "whole", *plain, "optimizer=sgd")
    with stopped(epoch=1) as stopping, pytest.raises(Stop):
        run_train(tmp_path / "old", *plain, "optimizer=sgd", *stopping)
    moved = tmp_path / ODD_NAME
    moved.parent.mkdir()
    (tmp_path / "old").rename(moved)
    answer: Answer = command("train", f"resume={moved}", "data.num_workers=1", TRUSTED)
    assert answer.status == 0, answer.err
    assert "Changed on resuming: data.num_workers=1" in answer.err
    assert not (tmp_path / "old").exists()
    run = Run(moved, None)
    assert run.metrics["val/acc"] == whole.metrics["val/acc"]
    weight = run.checkpoint("last")["state_dict"][FIRST_WEIGHT]
    assert torch.equal(weight, whole.checkpoint("last")["state_dict"][FIRST_WEIGHT])


@pytest.mark.parametrize(
    ("change", "text"),
    one_in(
        3,
        [
            ("trainer=cpu", "trainer=cpu cannot be combined with resume: only single values"),
            ("optimizer.lr=1", "optimizer.lr=1 cannot be combined with resume: a resumed run keeps its optimizer"),
            ("trainer.max_epoch=9", "trainer.max_epoch is no setting of the resumed run"),
            ("trainer.max_epochs=1", "trainer.max_epochs=1 is too short for the freeze plan's 2 phases"),
            ("data.batch_size=0", "data.batch_size=0 is out of range"),
        ],
    ),
)
def test_mistakes_in_resuming(colors_run: Run, command, change: str, text: str) -> None:
    answer: Answer = command("train", f"resume={colors_run.directory}", change)
    assert answer.status == 1 and text in answer.err and "Traceback" not in answer.err


def test_resuming_with_other_classes_is_refused(colors_run: Run, command, tmp_path: Path, colors: Path) -> None:
    shutil.copytree(colors, tmp_path / "more")
    shutil.copytree(colors / "red", tmp_path / "more" / "purple")
    answer: Answer = command("train", f"resume={colors_run.directory}", f"data.root={tmp_path}/more")
    assert answer.status == 1 and "The data have other classes (blue, green, purple, red)" in answer.err


def test_resuming_before_the_first_checkpoint_says_so(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(ConfigError, match=r"no checkpoints/last.ckpt yet"):
        train(compose(f"output_dir={tmp_path}/x", f"resume={tmp_path}/run"))


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(tmp_path: Path, colors: Path) -> None:
    """A real process, a real signal; then the resume command that it names."""
    command = [
        sys.executable, "-m", "src.train", *("trainer=cpu", "trainer.max_epochs=400", "logger=none"),
        *("data=folder", f"data.root={colors}", "data.image_size_px=32", f"hydra.run.dir={tmp_path}/run"),
    ]  # fmt: skip
    with (tmp_path / "err").open("w") as err:
        # A shell's background jobs ignore SIGINT, and so would this process.
        unignore = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
        process = subprocess.Popen(command, stderr=err, start_new_session=True, preexec_fn=unignore)
        deadline = time.time() + 90
        while not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists() and time.time() < deadline:
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=60) == 130
    message = (tmp_path / "err").read_text()
    assert f"Go on with: python -m src.train resume={tmp_path}/run" in message and "Traceback" not in message
    # Lightning sets its log up when it is imported, after ours; nanobind counts what is left at the end.
    assert "INFO" not in message and "leaked" not in message and "\n\n" not in message


# ---------------------------------------------------------------------------------------------------- whole commands


def test_a_sweep_makes_a_table_and_survives_a_failing_job(tmp_path: Path, command, colors: Path) -> None:
    answer: Answer = command(
        "train", "-m", "trainer=cpu", "trainer.max_epochs=1", "logger=none", "data=folder", f"data.root={colors}",
        "data.num_workers=0", "data.image_size_px=16,32", "optimizer.lr=1e-3,1e-4", f"hydra.sweep.dir={tmp_path}/sweep",
    )  # fmt: skip
    assert answer.status == 1 and "2 jobs of the sweep failed" in answer.err
    assert "data.image_size_px=16 does not fit squeezenet1_1: it must be at least 17" in answer.err
    assert "Traceback" not in answer.err
    rows = Run(tmp_path / "sweep", None).csv("sweep.csv")
    assert [row["status"] for row in rows] == ["done", "done", "failed", "failed"]
    assert float(rows[0]["val/acc"]) >= float(rows[1]["val/acc"])
    assert {row["optimizer.lr"] for row in rows} == {"0.001", "0.0001"}
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir()) == [
        "0_data.image_size_px=16,optimizer.lr=0.001", "1_data.image_size_px=16,optimizer.lr=0.0001",
        "2_data.image_size_px=32,optimizer.lr=0.001", "3_data.image_size_px=32,optimizer.lr=0.0001",
    ]  # fmt: skip
    assert "best val/acc first" in answer.out and "0 failed" in answer.out and "image_size_px" in answer.out
    assert "Job 1_data.image_size_px=16,optimizer.lr=0.0001 failed: data.image_size_px=16 does not fit" in answer.out


def test_a_new_run_never_writes_into_an_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from src.cli.run_dir import run_dir

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda _: "now")
    first = run_dir(None, "a/b c")
    assert Path(first).is_dir()  # made at once: another run of the same second takes another name
    assert first == "logs/runs/now_a-b-c" and run_dir(None, "a/b c") == "logs/runs/now_a-b-c_2"
    assert run_dir(first, "x") == first


@pytest.mark.parametrize(
    "settings", mostly_slow([["scheduler=plateau"], ["callbacks=early_stopping"]], ["callbacks=early_stopping"])
)
def test_val_may_be_measured_every_other_epoch(trained: Runner, colors: Path, settings: list[str]) -> None:
    run = trained(
        "data=folder", f"data.root={colors}", "data.image_size_px=32", "test=false", "trainer.max_epochs=4",
        "+trainer.check_val_every_n_epoch=2", *settings,
    )  # fmt: skip
    assert ["val/acc" in row and row["val/acc"] != "" for row in run.csv("epochs.csv")] == [False, True, True, True]
