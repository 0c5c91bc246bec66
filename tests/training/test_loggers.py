"""What a run shows in the services that people keep their runs in; all of it on this machine."""

import importlib.util
import json
import logging
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL, Answer, Run, compose, run_train
from lightning.pytorch.loggers import CSVLogger

from src.settings.loggers import logger_problems
from src.settings.project import PROJECT_ROOT
from src.train import train
from src.training.loggers.service import MOST_FAILURES, ServiceLogger

KEY = "0123456789abcdef0123456789abcdef01234567"  # of nobody


def needs(*packages: str) -> pytest.MarkDecorator:
    """Extras, which a user may do without; .ci/run has them."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


@pytest.fixture(autouse=True)
def at_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's account, and no store of the project's."""
    home = tmp_path_factory.getbasetemp() / "home"
    for name, value in {
        "HOME": str(home), "WANDB_MODE": "offline", "WANDB_API_KEY": KEY, "COMET_API_KEY": KEY,
        "MLFLOW_TRACKING_URI": f"file:{home}/mlruns",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


@pytest.fixture
def plain(colors: Path) -> list[str]:
    given = ["data=folder", f"data.root={colors}", "data.image_size_px=32", "data.batch_size=16"]
    return [*given, "trainer.max_epochs=1", "trainer.log_every_n_steps=1", "freeze=head_only"]


def resume(run: Path, *changes: str) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["src.train", f"resume={run}", *changes])
        train(compose(f"output_dir={run.parent}/unused", f"resume={run}"))
    return Run(run, None)


def started(*given: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: W&B reads its environment once."""
    command = [sys.executable, "-m", "src.train", *given]
    return subprocess.run(
        command, cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400
    )


def files_with(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_a_missing_package_is_told_before_torch(
    command: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for package in ("wandb", "mlflow", "comet_ml"):
        monkeypatch.setitem(sys.modules, package, None)
    answer = command("train", "logger=[tensorboard,wandb,mlflow,comet]", f"output_dir={tmp_path}/run")
    assert answer.status == 1 and "Importing" not in answer.err
    assert re.findall(r"uv sync --extra (\w+)", answer.err) == ["wandb", "mlflow", "comet"]


def test_settings_of_several_loggers_are_checked_as_those_of_one(command: Callable[..., Answer]) -> None:
    answer = command("train", "logger=[csv,wandb]", "logger.wandb.offline=7")
    assert answer.status == 1 and "logger.wandb.offline=7 is not true or false" in answer.err
    answer = command("train", "logger=[csv,wandb]", "logger.wandb.ofline=true")
    assert answer.status == 1 and "Did you mean 'logger.wandb.offline'?" in answer.err


@pytest.mark.parametrize(
    "typed",
    [f"+logger.comet.api_key={KEY}", f"+logger.wandb.settings.api_key={KEY}",
     f"logger.mlflow.tracking_uri=https://me:{KEY}@server"],
)  # fmt: skip
def test_secrets_are_no_settings(command: Callable[..., Answer], tmp_path: Path, typed: str) -> None:
    """Neither the message nor any file has it."""
    answer = command("train", "logger=[wandb,mlflow,comet]", typed, f"output_dir={tmp_path}/run")
    assert answer.status == 1 and "holds a secret" in answer.err and "in the environment" in answer.err
    assert KEY not in answer.err + answer.out and not files_with(tmp_path, KEY)
    answer = command(
        "train", "-m", "seed=0,1", "logger=[wandb,mlflow,comet]", typed, f"hydra.sweep.dir={tmp_path}/sweep"
    )
    assert answer.status == 1 and KEY not in answer.err and not (tmp_path / "sweep").exists()


def test_a_secret_in_a_yaml_or_a_checkpoint_is_refused_too() -> None:
    node = {"_target_": "x.WandbRun", "tags": ["https://me:pass@there"], "settings": {"api_key": KEY}, "api_key": None}
    problems = list(logger_problems({"mine": node}))
    assert [text.split()[0] for text in problems] == ["logger.mine.tags.0", "logger.mine.settings.api_key"]
    assert "pass" not in "".join(problems) and KEY not in "".join(problems)


class Failing(ServiceLogger, CSVLogger):
    """Of a service that cannot be reached any more."""

    service = "It"
    is_down = True
    tried = 0

    @property
    def experiment(self) -> Any:
        self.tried += 1
        if self.is_down:
            raise ConnectionError("http://me:secret@there is gone")
        return super().experiment


def test_a_service_that_fails_ends_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is tried again a few times, and then left alone."""
    logger = Failing(tmp_path)
    with caplog.at_level(logging.WARNING):
        logger.log_metrics({"a": 1.0}, 1)
        logger.is_down = False
        logger.log_metrics({"a": 1.0}, 2)
        logger.is_down = True
        assert not logger.failures
        for step in range(9):
            logger.log_metrics({"a": 1.0}, step)
    assert logger.tried == 2 + MOST_FAILURES and logger.given_up
    assert "It fails (http://***@there is gone)" in caplog.text and "nothing more is logged there" in caplog.text


def metrics_in(client: Any, run: Any, name: str) -> list[tuple[int, float]]:
    return [(one.step, round(one.value, 4)) for one in client.get_metric_history(run.info.run_id, name)]


def artifacts_of(client: Any, run: Any, folder: str) -> set[str]:
    return {Path(one.path).name for one in client.list_artifacts(run.info.run_id, folder)}


@pytest.mark.slow
@needs("mlflow")
def test_mlflow_gets_everything_and_goes_on_with_its_run(plain: list[str], tmp_path: Path) -> None:
    """TensorBoard stands beside it. What a resumed run has otherwise is a tag, since parameters cannot change."""
    from mlflow.tracking import MlflowClient

    uri = f"file:{tmp_path}/mlruns"
    given = [*plain, "logger=[tensorboard,mlflow]", f"logger.mlflow.tracking_uri={uri}", "logger.mlflow.log_model=true"]
    run = run_train(tmp_path / "run", *given)
    client = MlflowClient(uri)

    def found() -> Any:
        (experiment,) = client.search_experiments(filter_string="name = 'torchvision-finetune'")
        (only,) = client.search_runs([experiment.experiment_id])
        return only

    first = found()
    assert first.info.run_name == "run" and first.info.status == "FINISHED"
    assert first.data.params["backbone"] == "squeezenet1_1" and first.data.params["data.batch_size"] == "16"
    assert first.data.metrics["final/test/acc"] == pytest.approx(run.metrics["test/acc"])
    assert {"val/loss", "val/acc", "train/loss", "lr", "epoch", "test/acc"} <= first.data.metrics.keys()
    images = {name.partition("+")[0] for name in artifacts_of(client, first, "images")}
    assert {"train~images", "val~confusion", "test~confusion", "report~learning_curves"} <= images
    assert {"val_predictions.csv", "test_predictions.csv", "test_classes.csv"} == artifacts_of(client, first, "tables")
    assert {"index.html", "model_card.md"} <= artifacts_of(client, first, "report")
    assert {"best.ckpt"} == artifacts_of(client, first, "checkpoints")
    assert (run.directory / "tensorboard").is_dir()

    resume(run.directory, "trainer.max_epochs=2", f"logger.mlflow.tracking_uri={uri}")
    second = found()
    assert second.info.run_id == first.info.run_id and second.info.status == "FINISHED"
    steps = [step for step, _ in metrics_in(client, second, "val/acc")]
    assert len(steps) == 2 and steps[0] < steps[1]
    assert second.data.params["epochs"] == "1" and second.data.tags["resumed.epochs"] == "2"


def wandb_records(folder: Path) -> Iterator[Any]:
    """The file is LevelDB's log: behind 7 bytes, blocks of parts with checksum, length, and which part it is."""
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # its own process writes to the end of the file, as it does before a command's process ends
    block, header = 32768, 7
    data, at, whole = next(folder.glob("*.wandb")).read_bytes(), header, b""
    while at + header <= len(data):
        if block - at % block < header:
            at += block - at % block
            continue
        length, part = struct.unpack_from("<HB", data, at + 4)
        whole += data[at + header : at + header + length]
        at += header + length
        if part in (1, 4):  # a whole record, or the last part of one
            record = Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def wandb_history(folder: Path) -> list[dict[str, Any]]:
    """Rows as they were logged."""
    return [
        {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        for record in wandb_records(folder)
        if record.WhichOneof("record_type") == "history"
    ]


@pytest.mark.slow
@needs("wandb")
def test_wandb_gets_everything_and_goes_on_with_its_run(plain: list[str], tmp_path: Path) -> None:
    run = run_train(tmp_path / "run", *plain, "logger=wandb")
    (first,) = (run.directory / "wandb").glob("offline-run-*")
    history = wandb_history(first)
    names = {name for row in history for name in row}
    assert {"val/acc", "train/loss", "lr", "epoch", "trainer/global_step", "test/acc"} <= names
    assert {"train/images", "val/confusion", "test/confusion", "report/learning_curves", "report/index"} <= names
    assert {"val/predictions", "test/predictions", "test/classes"} <= names
    assert [row["_step"] for row in history] == list(range(len(history)))  # none came late, so none is dropped
    assert (first / "files" / "run" / "metrics.json").is_file() and not files_with(tmp_path, KEY)

    resume(run.directory, "trainer.max_epochs=2")
    second = next(folder for folder in (run.directory / "wandb").glob("offline-run-*") if folder != first)
    ids = [record.run.run_id for folder in (first, second) for record in wandb_records(folder) if record.run.run_id]
    assert set(ids) == {run.checkpoint()["finetune"]["run_id"]}
    steps = [row["trainer/global_step"] for row in wandb_history(second) if "val/acc" in row]
    assert steps and min(steps) > max(row["trainer/global_step"] for row in history if "val/acc" in row)


@pytest.mark.slow
@needs("comet_ml")
def test_comet_gets_everything(plain: list[str], tmp_path: Path) -> None:
    """And TensorBoard's calls are not logged there again."""
    run = run_train(tmp_path / "run", *plain, "logger=[tensorboard,comet]", "logger.comet.online=false")
    (archive,) = (run.directory / "comet").glob("*.zip")
    with zipfile.ZipFile(archive) as file:
        facts = json.loads(file.read("experiment.json"))
        messages = [json.loads(line) for line in file.read("messages.json").decode().splitlines()]
    assert facts["offline_id"] == run.checkpoint()["finetune"]["run_id"]
    metrics = [one["payload"]["metric"]["metricName"] for one in messages if one["type"] == "metric_msg"]
    assert {"val/acc", "train/loss", "lr", "final/test/acc"} <= set(metrics) and metrics.count("val/acc") == 1
    uploads = [one["payload"]["additional_params"] or {} for one in messages if one["type"] == "file_upload"]
    names = {one.get("figName") or one.get("fileName") for one in uploads}
    assert {"train/images", "val/confusion", "test/confusion", "test_classes.csv", "report/index.html"} <= names
    assert not files_with(tmp_path, KEY)


@pytest.mark.slow
@needs("wandb")
def test_each_job_of_a_sweep_is_a_run_of_its_own(
    plain: list[str], tmp_path: Path, command: Callable[..., Answer]
) -> None:
    """W&B would go on with the run of the job before, which was in the same process."""
    given = [*plain, *SMALL[:1], "data.num_workers=0", "data.cache=none", "logger=wandb"]
    answer = command("train", "-m", "seed=0,1", f"hydra.sweep.dir={tmp_path}/sweep", *given)
    assert not answer.status, answer.err
    runs = [next(record.run for record in wandb_records(folder) if record.run.run_id)
            for folder in (tmp_path / "sweep").glob("*/wandb/offline-run-*")]  # fmt: skip
    assert len({run.run_id for run in runs}) == 2
    assert sorted(run.display_name for run in runs) == ["sweep/0_seed=0", "sweep/1_seed=1"]
    assert {run.run_group for run in runs} == {"sweep"}


@pytest.mark.slow
@needs("wandb", "mlflow")
def test_of_two_processes_the_first_one_logs(plain: list[str], tmp_path: Path) -> None:
    given = [*plain, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "data.num_workers=0"]
    given += ["data.cache=none", "logger=[wandb,mlflow]", f"output_dir={tmp_path}/run"]
    given += [f"logger.mlflow.tracking_uri=file:{tmp_path}/mlruns"]
    done = started(*given)
    assert not done.returncode, done.stderr
    assert len([*(tmp_path / "run" / "wandb").glob("offline-run-*")]) == 1
    assert len([*(tmp_path / "mlruns").glob("[1-9]*/*/params")]) == 1


@pytest.mark.slow
@needs("wandb")
def test_a_service_without_a_login_is_one_message(
    monkeypatch: pytest.MonkeyPatch, plain: list[str], tmp_path: Path
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name)
    done = started(*plain, "trainer=cpu", "logger=wandb", f"output_dir={tmp_path}/run")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "cannot be used: No API key" in done.stderr and "logger.wandb.offline=true" in done.stderr
