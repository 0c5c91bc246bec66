"""Checkpoints from strangers: whatever their settings name, nothing of it runs, is imported, read or written."""

import copy
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Answer, Run, compose, run_train
from PIL import Image
from support.slow import one_in

from src.build.trained_model import TrainedModel
from src.runs.checkpoint import load_checkpoint
from src.runs.opening import open_run
from src.settings.errors import ConfigError
from src.settings.trust import plain_config, require_own_targets


@pytest.fixture(scope="module")
def run(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory = tmp_path_factory.mktemp("trust") / "run"
    return run_train(
        directory, "data=folder", f"data.root={colors}", "data.image_size_px=32", "trainer.max_epochs=1", "test=false"
    )


@functools.cache
def plain_checkpoint(directory: Path) -> dict[str, Any]:
    return Run(directory, None).checkpoint("last")


def changed(run: Run, file: Path, changes: dict[str, Any]) -> Path:
    """The run's checkpoint with settings changed by dotted key (or by `record:<key>`, outside the settings).

    Two thirds of it are of the optimizer, which is left out where nothing is resumed.
    """
    whole = plain_checkpoint(run.directory)
    checkpoint = {key: value for key, value in whole.items() if file.name == "last.ckpt" or key != "optimizer_states"}
    checkpoint["finetune"] = copy.deepcopy(whole["finetune"])
    for key, value in changes.items():
        record = checkpoint["finetune"]
        *parents, last = key.removeprefix("record:").split(".")
        node = record if key.startswith("record:") else record["config"]
        for parent in parents:
            node = node[int(parent)] if isinstance(node, list) else node.setdefault(parent, {})
        node[last] = value
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, file)
    return file


def runs(file: Path) -> dict[str, Any]:
    """Settings that make `file` when they are instantiated."""
    return {"_target_": "torch.utils.collect_env.run", "command": f"touch {file}"}


HEAD = {"_target_": "src.models.heads.linear_head", "_partial_": True}
# What a stranger may put where: (where it is refused, settings), with MARK for settings that would make a file.
FOREIGN: dict[str, dict[str, Any]] = {
    "head": {"head": runs},
    "nested in the head": {"head.dropout": runs},
    "positional arguments": {
        "head": lambda mark: {
            "_target_": "pathlib.Path.write_text",
            "_args_": [{"_target_": "pathlib.Path", "_args_": [str(mark)]}, "x"],
        }
    },
    "a function of ours that is no head": {"head._target_": "src.models.classifier.pooled"},
    "through one of our modules": {"head": lambda mark: {"_target_": "src.cli.run_dir.os.mkdir", "path": str(mark)}},
    "task": {"task": lambda mark: {**runs(mark), "targets": "classes", "monitor": "val/acc", "mode": "max"}},
    "a module that is no task": {"task.name": "lookup"},
    "hidden in a tuple of the head": {"head.x": lambda mark: (runs(mark),)},
    "a target that is no text": {"head._target_": {"a": 1}},
}
FOREIGN_IN_EVALUATION: dict[str, dict[str, Any]] = {
    "loss": {"loss": lambda mark: {"_target_": "builtins.open", "file": str(mark), "mode": "w"}},
    "nested in the loss": {"loss.label_smoothing": runs},
    "a module that is no loss": {"loss": {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1}},
    "data": {"data": lambda mark: {"_target_": "os.mkdir", "path": str(mark)}},
    "nested in the data": {"data.root": runs},
    "in a tuple in the data": {"data.split_file": lambda mark: (runs(mark),)},
}
FOREIGN_IN_RESUMING: dict[str, dict[str, Any]] = {
    **FOREIGN,
    **FOREIGN_IN_EVALUATION,
    "optimizer": {"optimizer": runs},
    "sympy": {"optimizer": lambda mark: {"_target_": "sympy.sympify", "a": f"open({str(mark)!r}, 'w')"}},
    "nested in the optimizer": {"optimizer.lr": runs},
    "scheduler": {"scheduler": runs},
    "a helper of ours that is no schedule": {"scheduler._target_": "src.training.schedules.warnings.warn"},
    "optimizer of a phase": {"freeze.phases.0.optimizer": runs},
    "scheduler of a phase": {"freeze.phases.0.scheduler": runs},
    "callback": {"callbacks.x": runs},
    "a callback of another package": {"callbacks.x": {"_target_": "torch.nn.Identity"}},
    "logger": {"logger.x": runs},
    "trainer": {"trainer": runs},
    "profiler": {"trainer.profiler": runs},
    "strategy": {"trainer.strategy": runs},
    "plugins": {"trainer.plugins": lambda mark: [runs(mark)]},
    "where no code may be named": {"augment.erasing": runs},
    "a module of the working directory": {"callbacks.x": {"_target_": "stranger.Callback"}},
    "a callback that writes elsewhere": {"callbacks.epoch_log.output": lambda mark: str(mark)},
    "a callback that writes beside the program": {"callbacks.epoch_log.output": "README.md"},
    "a checkpoint's name with a way out": {"callbacks.best_checkpoint.filename": "../../../x"},
    "hidden in a tuple": {"callbacks.epoch_log.output": lambda mark: (runs(mark),)},
    "plugins in a tuple": {"trainer.plugins": lambda mark: (runs(mark),)},
    "an argument without a name": {
        "callbacks.epoch_log": lambda mark: {
            "_target_": "src.training.callbacks.epoch_log.EpochLog",
            "_args_": ["max", str(mark)],
        }
    },
    "a name whose format makes slashes": {"callbacks.best_checkpoint.filename": "{zz:/>3d}_out/x"},
    "an environment variable in a folder's name": {
        "logger.tb": {"_target_": "lightning.pytorch.loggers.TensorBoardLogger", "save_dir": "x", "version": "$HOME"}
    },
    "a logger of another machine": {
        "logger.x": {"_target_": "lightning.pytorch.loggers.MLFlowLogger", "tracking_uri": "http://127.0.0.1:9"}
    },
    "a store of MLflow elsewhere": {
        "logger.x": {"_target_": "src.training.loggers.mlflow_run.MlflowRun", "tracking_uri": "file:/srv"}
    },
    "a logger to somebody's account": {
        "logger.x": {"_target_": "src.training.loggers.wandb_run.WandbRun", "entity": "stranger"}
    },
    "a server deeper in the settings": {
        "logger.x": {"_target_": "src.training.loggers.wandb_run.WandbRun", "settings": {"x_base": "stranger.org"}}
    },
    "a logger that writes elsewhere": {
        "logger.csv": {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": "/srv"}
    },
}


def settings_of(foreign: dict[str, Any], mark: Path) -> dict[str, Any]:
    return {key: value(mark) if callable(value) else copy.deepcopy(value) for key, value in foreign.items()}


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What would be made if something ran; and a module in the working directory that makes it when it is imported."""
    made = tmp_path / "ran"
    (tmp_path / "stranger.py").write_text(f"open({str(made)!r}, 'w')\nfrom lightning import Callback\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield made
    assert not made.exists(), "what the file names was run"
    assert "stranger" not in sys.modules


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_checkpoint_that_is_used_runs_nothing(run: Run, tmp_path: Path, mark: Path, kind: str) -> None:
    file = changed(run, tmp_path / "a.ckpt", settings_of(FOREIGN[kind], mark))
    with pytest.raises(ConfigError, match=r"trust=true|cannot be used|cannot be gone on with"):
        TrainedModel.open(str(file))


@pytest.mark.parametrize("kind", sorted(FOREIGN_IN_RESUMING.keys() - FOREIGN.keys()))
def test_for_answers_nothing_of_the_training_is_looked_at(run: Run, tmp_path: Path, mark: Path, kind: str) -> None:
    file = changed(run, tmp_path / "a.ckpt", settings_of(FOREIGN_IN_RESUMING[kind], mark))
    assert TrainedModel.open(str(file)).task.class_names == ["blue", "green", "red"]


@pytest.mark.parametrize("kind", FOREIGN_IN_EVALUATION)
def test_a_checkpoint_that_is_evaluated_runs_nothing(run: Run, tmp_path: Path, mark: Path, kind: str) -> None:
    file = changed(run, tmp_path / "a.ckpt", settings_of(FOREIGN_IN_EVALUATION[kind], mark))
    with pytest.raises(ConfigError, match="trust=true"):
        TrainedModel.open(str(file), evaluate=True)


@pytest.mark.parametrize("kind", one_in(3, FOREIGN_IN_RESUMING))
def test_a_checkpoint_that_is_resumed_runs_nothing(run: Run, tmp_path: Path, mark: Path, kind: str) -> None:
    changed(run, tmp_path / "run" / "checkpoints" / "last.ckpt", settings_of(FOREIGN_IN_RESUMING[kind], mark))
    with pytest.raises(ConfigError, match=r"trust=true|cannot be used|cannot be gone on with"):
        open_run(compose(f"output_dir={tmp_path}/new", f"resume={tmp_path}/run"))


def test_a_command_says_so_in_one_message(
    run: Run, tmp_path: Path, mark: Path, colors: Path, command: Callable[..., Answer]
) -> None:
    file = changed(run, tmp_path / "a.ckpt", {"head": runs(mark)})
    answer = command("predict", f"ckpt={file}", f"images={colors}/red", f"output={tmp_path}/p.csv")
    assert answer.status == 1 and "Traceback" not in answer.err and not (tmp_path / "p.csv").exists()
    assert "head._target_='torch.utils.collect_env.run'" in answer.err and "trust=true" in answer.err


def test_trust_opens_the_door(run: Run, tmp_path: Path) -> None:
    made = tmp_path / "made"
    head = {"_target_": "functools.partial", "_args_": [{"_target_": "hydra.utils.get_object", "path": "x"}]}
    file = changed(run, tmp_path / "a.ckpt", {"head": {"_target_": "pathlib.Path.touch", "self": head}})
    with pytest.raises(ConfigError, match="trust=true"):
        TrainedModel.open(str(file))
    own = {**HEAD, "dropout": {"_target_": "builtins.float", "_args_": ["0.0"]}}
    file = changed(run, made / "own.ckpt", {"head": own})
    assert TrainedModel.open(str(file), trust=True).task.class_names == ["blue", "green", "red"]


def test_what_this_project_writes_is_its_own(run: Run) -> None:
    """Everything in an ordinary run's settings, and torch's and Lightning's classes where they belong."""
    config = run.checkpoint("last")["finetune"]["config"]
    require_own_targets(config, Path("x.ckpt"))
    require_own_targets(
        {
            "optimizer": {"_target_": "torch.optim.SGD"},
            "scheduler": {"_target_": "torch.optim.lr_scheduler.StepLR"},
            "freeze": {"phases": [{"scheduler": {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau"}}]},
            "loss": {"_target_": "torch.nn.MSELoss"},
            "callbacks": {"x": {"_target_": "lightning.pytorch.callbacks.DeviceStatsMonitor"}},
            "trainer": {"profiler": {"_target_": "lightning.pytorch.profilers.SimpleProfiler"}},
            "logger": {"x": {"_target_": "lightning.pytorch.loggers.CSVLogger"}},
        },
        Path("x.ckpt"),
    )


def test_settings_of_a_file_are_never_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "found")
    for text in ("${oc.env:SECRET}", "a ${b} c", r"\${b}", r"\\${b}", "$", "plain"):
        assert plain_config({"a": {"x": [text]}}).a.x[0] == text


@pytest.mark.parametrize(
    ("entry", "value"),
    one_in(
        3,
        [
            ("record:class_names", "abc"),
            ("record:class_names", [["a"], ["b"], ["c"]]),
            ("record:class_names", ["a", "a", "b"]),
            ("record:preprocessing.crop_px", 10**9),
            ("record:preprocessing.resize_px", "32"),
            ("record:preprocessing.interpolation", "exec"),
            ("record:preprocessing.std", [1.0, 0.0, 1.0]),
            ("record:preprocessing.mean", [float("nan"), 0.0, 1.0]),
            ("record:calibration.temperature", float("nan")),
            ("record:calibration.temperature", 0),
            ("record:calibration.score_slope", -1.0),
            ("record:calibration.score_shift", float("inf")),
            ("record:calibration.threshold_0", 1.5),
            ("record:calibration.threshold_7", "0.5"),
            ("record:rates", {"phase_x": 0.1}),
            ("record:rates", {"phase_1": "0.1"}),
            ("record:calibration.ood_score_p99", "x"),
            ("backbone.name", "../../x"),
            ("backbone", None),
            ("task.targets", "many"),
            ("channels_last", "yes"),
        ],
    ),
)
def test_impossible_facts_are_named(run: Run, tmp_path: Path, entry: str, value: Any) -> None:
    file = changed(run, tmp_path / "a.ckpt", {entry: value})
    with pytest.raises(ConfigError, match=entry.removeprefix("record:").split(".")[0]):
        load_checkpoint(file)


@pytest.mark.parametrize("name", ["evaluate", "predict", "explain", "export", "train"])
def test_a_checkpoint_of_before_tasks_had_names_is_one_message(
    run: Run, tmp_path: Path, command: Callable[..., Answer], name: str
) -> None:
    old = {"_target_": "src.tasks.classification.ClassificationTask", "monitor": "val/acc", "mode": "max"}
    file = changed(run, tmp_path / "run" / "checkpoints" / "last.ckpt", {"task": old, "data._target_": "src.data.Old"})
    images = [] if name in ("evaluate", "train", "export") else [f"images={tmp_path}/a.png"]
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    answer = command(name, *([f"resume={file.parents[1]}"] if name == "train" else [f"ckpt={file}", *images]))
    assert answer.status == 1 and "Traceback" not in answer.err
    assert "an older version of this project wrote it" in answer.err and "train again" in answer.err


def test_damage_is_seen(run: Run, tmp_path: Path) -> None:
    """A flipped bit in a weight, a weight that is no number, a file that was cut off, no file of ours."""
    whole = run.checkpoint("last")
    file, name = tmp_path / "a.ckpt", "model.net.features.0.bias"
    torch.save(whole, file)
    content = bytearray(file.read_bytes())
    content[content.index(whole["state_dict"][name].numpy().tobytes()) + 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="is damaged: its part"):
        load_checkpoint(file)
    whole["state_dict"][name][0] = float("nan")
    torch.save(whole, file)
    with pytest.raises(ConfigError, match=f"{name} are not all finite"):
        load_checkpoint(file)
    for content in (file.read_bytes()[:5000], b"", b"<html>"):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="cannot be read as a checkpoint"):
            load_checkpoint(file)
