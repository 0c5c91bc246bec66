"""Everything composes, and every mistake is answered by its text, without torch, in a run that leaves nothing."""

import functools
import re
import subprocess
import sys
import zipfile
from dataclasses import asdict
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, get_origin

import pytest
import yaml
from conftest import Answer, compose, typed
from hydra.utils import get_object
from omegaconf import OmegaConf
from support.slow import one_in

from src.build.task import build_phases, keeps_norms
from src.runs.run import TrainingRun
from src.settings.backbones import OWN_HEADS
from src.settings.check import check_settings, leaves
from src.settings.errors import ConfigError
from src.settings.loggers import PACKAGES
from src.settings.options import options_of, task_names, tasks_for
from src.settings.project import CONF_DIR, PROJECT_ROOT
from src.settings.rules import is_declared
from src.settings.schema import TrainConfig, train_config
from src.settings.signatures import arguments_of, check_targets
from src.settings.target_kinds import TARGET_KINDS

GROUPS = [
    "head",
    "freeze",
    "loss",
    "optimizer",
    "scheduler",
    "augment",
    "data",
    "task",
    "trainer",
    "callbacks",
    "logger",
]
OPTIONS = [
    f"{group}={file.stem}"
    for group in [*GROUPS, "backbone", "debug", "experiment", "sweep"]
    for file in sorted((CONF_DIR / group).glob("*.yaml"))
]

NOT_TOLD = {"augment=boxes_strong": ("task=detection",), "experiment=boxes": ("task=detection",)}


def needs(option: str) -> tuple[str, ...]:
    """The task that an option of head, loss, data or augment is for, and the network whose own head it is."""
    group, name = option.split("=")
    of_option = options_of(group)[name].get("targets")
    fitting = (
        kind
        for kind, facts in TARGET_KINDS.items()
        if (group in ("head", "loss") and kind == of_option)
        or (group == "data" and name in facts.formats)
        or (group == "augment" and name == facts.augment)
    )
    kind = next(fitting, "classes")
    network = [f"backbone={net}" for net, head in OWN_HEADS.items() if group == "head" and head == name]
    return () if kind == "classes" else (tasks_for(kind).split(" or ")[0], *network[-1:])


GO_WITH = {option: found for option in OPTIONS if (found := NOT_TOLD.get(option) or needs(option))}


def test_there_are_options() -> None:
    assert len(OPTIONS) > 35 and {option.split("=")[0] for option in OPTIONS} >= set(GROUPS)


# Options that go with each other are composed at once, since Hydra takes most of the time.
APART = ("data", "task", "head", "backbone", "debug", "experiment", "sweep")
BY_GROUP = {
    group: [option for option in OPTIONS if option.startswith(f"{group}=") and option not in GO_WITH]
    for group in GROUPS
    if group not in APART
}
TOGETHER = [tuple(filter(None, options)) for options in zip_longest(*BY_GROUP.values())]
ALONE = [(option,) for option in OPTIONS if not any(option in together for together in TOGETHER)]
WITHOUT_PACKAGE = {f"logger={name}" for name, (module, _) in PACKAGES.items() if find_spec(module) is None}  # extras


@pytest.mark.parametrize("options", [*TOGETHER, *ALONE], ids=" ".join)
def test_every_option_composes_and_fits_what_it_names(options: tuple[str, ...], tmp_path: Path) -> None:
    options = tuple(option for option in options if option not in WITHOUT_PACKAGE)
    with_them = [other for option in options for other in GO_WITH.get(option, ())]
    cfg = compose(*options, f"output_dir={tmp_path}", "trainer.max_epochs=20", *with_them)
    for key in OmegaConf.missing_keys(cfg):
        OmegaConf.update(cfg, key, __file__ if key == "data.file" else str(tmp_path))
    check_settings(cfg, {})
    held = train_config(cfg)
    check_targets(asdict(held))
    assert build_phases(TrainingRun(held))


@functools.cache
def keys_of(file: Path) -> dict[str, bool]:
    """Each dotted key of a yaml file, and whether a comment beside it or right above it says something of it."""
    lines, found = file.read_text().splitlines(), dict[str, bool]()

    def walk(node: yaml.Node | None, prefix: str) -> None:
        if isinstance(node, yaml.SequenceNode):
            for one in node.value:
                walk(one, prefix)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == "defaults" or key.value.startswith("_"):
                    continue
                line, end = key.start_mark.line, value.end_mark
                behind = lines[line][end.column if end.line == line else key.end_mark.column :]
                above = lines[line - 1].strip() if line else ""
                name = f"{prefix}{key.value}"
                found[name] = found.get(name, False) or " #" in behind or above.startswith("#")
                walk(value, f"{name}.")

    walk(yaml.compose(file.read_text()), "")
    return found


def explained_elsewhere(file: Path) -> set[str]:
    """Keys of a yaml file that other files explain: what it builds on, what its comments name, what it changes."""
    text = file.read_text()
    values = yaml.safe_load(text)
    above = [name for name in values.get("defaults", []) if isinstance(name, str)]
    named = re.findall(r"# .*?\b(\w+)\.yaml", text)
    others = [file.with_name(f"{name}.yaml") for name in [*above, *named]]
    found = {key for other in others if other.exists() for key, said in keys_of(other).items() if said}
    if text.startswith("# @package _global_"):
        found |= {key for key, said in keys_of(CONF_DIR / "train.yaml").items() if said}
        for group in GROUPS:
            for option in (CONF_DIR / group).glob("*.yaml"):
                found |= {group, *(f"{group}.{key}" for key, said in keys_of(option).items() if said)}
    return found


@pytest.mark.parametrize("file", sorted(CONF_DIR.rglob("*.yaml")), ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_setting_is_explained(file: Path) -> None:
    """By a comment beside it or above it, here or in the file that this one changes or builds on."""
    here = {key for key, said in keys_of(file).items() if said}
    missing = keys_of(file).keys() - here - explained_elsewhere(file)
    assert not missing, f"{file} says nothing of {', '.join(sorted(missing))}"


@pytest.mark.parametrize("group", ["optimizer", "loss", "head", "scheduler"])
def test_every_option_says_what_it_is_and_when_to_take_it(group: str) -> None:
    for file in (CONF_DIR / group).glob("*.yaml"):
        first = file.read_text().splitlines()[0]
        assert first.startswith("# ") and "Take it" in first, f"{file}: {first}"


@pytest.mark.parametrize(
    ("arguments", "texts"),
    one_in(
        6,
        [
            (["optimzer=adamw"], ["optimzer is no setting. Did you mean 'optimizer'?"]),
            (
                ["optimizer=adamww"],
                ["optimizer='adamww' does not exist. Did you mean 'adamw'? Options: adam, adamw, nadam"],
            ),
            (["backbone=resnet5"], ["Did you mean 'resnet50'?", "alexnet, convnext_base", "wide_resnet50_2"]),
            (["optimizer.lrr=1"], ["optimizer.lrr is no setting. Did you mean 'optimizer.lr'?"]),
            (["optimizer.lr=abc"], ["optimizer.lr='abc' is not a number."]),
            (["optimizer.lr=-1"], ["optimizer.lr=-1 is out of range: it must be more than 0."]),
            (["optimizer.betas=3"], ["optimizer.betas=3 is not a list"]),
            (
                ["+freeze.phases.0.optimizer.lr=-1"],
                ["freeze.phases.0.optimizer.lr=-1 is out of range"],
            ),
            (["+freeze.phases.0.optimizer.lr=abc"], ["freeze.phases.0.optimizer.lr='abc' is not a number."]),
            (["+freeze.phases.0.optimizer.betas=3"], ["freeze.phases.0.optimizer.betas=3 is not a list"]),
            (
                ["+freeze.phases.0.scheduler.final_factor=2"],
                ["freeze.phases.0.scheduler.final_factor=2 is out of range"],
            ),
            (["scheduler=multistep", "scheduler.milestones=[30,60]"], ["scheduler.milestones.0=30 is out of range"]),
            (["+freeze.phases.0.scheduler.interval=day"], ["freeze.phases.0.scheduler.interval='day' is not allowed."]),
            (["trainer=gpu", "trainer.max_epochs=x"], ["trainer.max_epochs='x' is not a whole number."]),
            (["data.mirror_safe=3"], ["data.mirror_safe=3 is not true or false."]),
            (["+traner.x=1"], ["traner is no setting. Did you mean 'trainer'?"]),
            (["+backbone.wieghts=1"], ["backbone.wieghts is no setting. Did you mean 'backbone.weights'?"]),
            (["seed=abc"], ["seed='abc' is not a whole number."]),
            (["seed"], ["'seed' is not understood: settings are given as key=value"]),
            (["seed=1,2"], ["To sweep over it, add --multirun"]),
            (["data=folder"], ["data.root is not set"]),
            (["data=folder", "data.root=nope"], ["data.root='nope' does not exist (looked in"]),
            (["data=folder", "data.root=${seed}"], ["data.root=0 is a number, and must be a path"]),  # as out of a yaml
            (["resume=nope"], ["resume='nope' does not exist"]),
            (["task.mode=maximum"], ["task.mode='maximum' is not allowed. Did you mean 'max'? Allowed: max, min."]),
            (["augment.policy=foo"], ["augment.policy='foo' is not allowed. Allowed: trivial, rand, augmix."]),
            (["trainer=cpu", "trainer.precision=16-mixed"], ["trainer.precision=16-mixed needs a GPU"]),
            (["freeze=head_only", "backbone.weights=null"], ["backbone.weights=null gives random weights"]),
            (
                ["freeze.phases.0.epoch=3"],
                ["freeze.phases.0.epoch is no setting. Did you mean 'freeze.phases.0.epochs'?"],
            ),
            (
                ["freeze=gradual", "trainer.max_epochs=5"],
                ["too short for the freeze plan's 4 phases", "at least 7 epochs"],
            ),
            (["freeze.phases.0.epochs=3"], ["add up to 3, but trainer.max_epochs=10"]),
            (["data.val_fraction=0.6", "data.test_fraction=0.5"], ["leave nothing to train on"]),
            (["data.folds=5", "data.fold=5"], ["data.fold=5 is out of range: with data.folds=5 it is 0 to 4."]),
            (["data.cache=all"], ["data.cache='all' is not allowed.", "Allowed: auto, none, images, features."]),
            (
                ["loss.class_weights=some"],
                ["loss.class_weights='some' is not allowed.", "Allowed: inverse, effective."],
            ),
            (["task=regression", "data.fil=x"], ["Did you mean 'data.file'?"]),
            (
                ["loss=bce"],
                ["loss=bce is for task.targets=tags, and this task has task.targets=classes"],
            ),
            (
                ["task=regression", "data=digits", "data.balanced_sampling=true"],
                ["balanced_sampling=true needs classes"],
            ),
            (["task.monitor=val/loss"], ["task.monitor=val/loss is best at its minimum: set task.mode=min."]),
            (["task.mode=min"], ["task.monitor=val/acc is best at its maximum"]),
            (["trainer.max_epochs=null"], ["trainer.max_epochs=null is not allowed"]),
            (["data.resize_px=32"], ["data.resize_px=32 is smaller than the crop"]),
            (
                ["data.batch_size=0", "optimizer.lr=0", "trainer.accelerator=gpux"],
                ["data.batch_size=0 is out", "optimizer.lr=0 is out", "trainer.accelerator='gpux' is not allowed."],
            ),
            (["-m", "optimizer.lrr=1,2"], ["optimizer.lrr is no setting"]),
            (["~optimizerr"], ["optimizerr is no setting. Did you mean 'optimizer'?"]),
        ],
    ),
)
def test_mistakes(command, arguments: list[str], texts: list[str], tmp_path: Path) -> None:
    runs = [f"hydra.run.dir={tmp_path}/run", f"hydra.sweep.dir={tmp_path}/sweep"]
    answer: Answer = command("train", *arguments, *runs)
    assert answer.status == 1
    for text in texts:
        assert text in answer.err
    assert "Traceback" not in answer.err and "Importing torch" not in answer.err and "object_type" not in answer.err
    assert len(answer.err.splitlines()) <= 6
    assert not (tmp_path / "run").exists(), "a run directory for a run that never was"


@pytest.mark.parametrize(
    ("arguments", "texts"),
    one_in(
        3,
        [
            (
                ["backbone.weights=IMAGENET"],
                ["backbone.weights='IMAGENET' is unknown for squeezenet1_1. Allowed: IMAGENET1K_V1"],
            ),
            (["backbone.weights=w.pth"], ["backbone.weights='w.pth' does not exist"]),
            (["freeze.phases=[{train: layer4}]"], ["train='layer4' names no module", "head, all", "features.12"]),
            (["+optimizer.amsgard=true"], ["optimizer.amsgard is no argument", "Did you mean 'optimizer.amsgrad'?"]),
            (["+data.bach_size=3"], ["data.bach_size is no argument", "Did you mean 'data.batch_size'?"]),
            (
                ["scheduler=step", "scheduler.step_epochs=0"],
                ["step_epochs=0 is out of range: it must be at least 1"],
            ),
            (["optimizer._target_=torch.optim.Adan"], ["optimizer._target_='torch.optim.Adan' cannot be imported"]),
            (["trainer=gpu"], ["trainer.accelerator=gpu: this machine has no such device. Available: cpu"]),
            (["trainer.precision=16-mixed"], ["trainer.precision=16-mixed needs a GPU"]),
            (["scheduler.warmup_epochs=20"], ["scheduler.warmup_epochs=20 is as long as phase 1"]),
            (["data.image_size_px=8", "data.resize_px=8"], ["data.image_size_px=8 does not fit squeezenet1_1"]),
            (["data=folder", "data.root=src/assets"], ["data.root='", "no images in"]),
            (["task.monitor=val/accuracy"], ["task.monitor='val/accuracy'", "val/acc"]),
        ],
    ),
)
def test_mistakes_that_need_torch_to_be_seen(command, arguments: list[str], texts: list[str], tmp_path: Path) -> None:
    if "trainer=gpu" in arguments or "trainer.precision=16-mixed" in arguments:
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has a GPU")
    answer: Answer = command("train", *arguments, f"hydra.run.dir={tmp_path}/run")
    assert answer.status == 1
    for text in texts:
        assert text in answer.err
    assert "Traceback" not in answer.err


def test_a_phase_with_unknown_optimizer_arguments() -> None:
    cfg = typed("freeze.phases=[{train: all, optimizer: {momentun: 0.9}}]", "optimizer=sgd", "output_dir=x")
    with pytest.raises(ConfigError, match=r"optimizer.momentun is no argument .* Did you mean .*momentum"):
        build_phases(TrainingRun(cfg))


@pytest.mark.parametrize(
    ("config", "arguments", "text"),
    [
        ("train", ["data=folder", "data.root={file}"], "data.root='{file}' is not a folder."),
        ("train", ["data=csv", "data.file={folder}"], "data.file='{folder}' is a folder."),
        ("check", ["task=detection", "data=coco", "data.root=.", "data.file={file}"], "data.file='{file}' is empty"),
        ("predict", ["ckpt={file}", "images=."], "'{file}' cannot be read as a checkpoint: it is not whole"),
        ("label_next", ["ckpt={file}", "images=."], "'{file}' cannot be read as a checkpoint: it is not whole"),
        ("train", ["resume={file}"], "'{file}' cannot be read as a checkpoint: it is not whole"),
        ("predict", ["ckpt={zip}", "images=.", "root={file}"], "root='{file}' is not a folder."),
    ],
)
def test_what_a_file_cannot_be_is_told_without_torch(
    tmp_path: Path, config: str, arguments: list[str], text: str
) -> None:
    names = {"file": str(tmp_path / "empty"), "folder": str(tmp_path), "zip": str(tmp_path / "zip")}
    (tmp_path / "empty").touch()
    zipfile.ZipFile(tmp_path / "zip", "w").close()
    there = ["output_dir=nowhere"] if config == "train" else []
    with pytest.raises(ConfigError, match=re.escape(text.format(**names))):
        check_settings(compose(*there, *(one.format(**names) for one in arguments), config=config), {})


def test_commands_start_without_torch() -> None:
    """So that a mistyped setting is answered in under a second where torch takes ten."""
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(f'src.{name}')\n"
        "    for library in ('torch', 'lightning'):\n"
        "        assert library not in sys.modules, f'src.{name} imports {library}'"
    )
    commands = ["train", "evaluate", "predict", "check", "compare", "publish", "explain", "export", "serve"]
    commands += ["label_issues", "label_next"]
    assert subprocess.run([sys.executable, "-c", code, *commands], cwd=PROJECT_ROOT).returncode == 0


@pytest.mark.parametrize("option", [text for text in OPTIONS if text.startswith(("data=", "head=", "scheduler="))])
def test_numbers_of_our_own_options_have_a_type_and_a_range(option: str) -> None:
    """In src/settings/nodes.py, or in the signature of what the option names."""
    group, _, name = option.partition("=")
    values = yaml.safe_load((CONF_DIR / group / f"{name}.yaml").read_text())
    arguments, _ = arguments_of(get_object(values["_target_"]))
    for key, value in values.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            declared = is_declared(TrainConfig, f"{group}.{key}")
            assert declared or get_origin(arguments[key].annotation) is Annotated, key


def test_help_lists_groups_and_backbones(command) -> None:
    answer: Answer = command("train", "--help")
    assert answer.status == 0
    for text in ("backbone: alexnet, convnext_base", "freeze: gradual, head_only", "python -m src.train"):
        assert text in answer.out
    assert "schema" not in answer.out


@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_metric_of_the_users_own_may_be_better_either_way(mode: str, tmp_path: Path) -> None:
    check_settings(compose("task.monitor=val/their_own", f"task.mode={mode}", f"output_dir={tmp_path}"), {})


def test_epochs_of_the_phases() -> None:
    plan = "[{train: head, epochs: 2}, {train: '50%'}, {train: all}]"
    phases = build_phases(TrainingRun(typed(f"freeze.phases={plan}", "trainer.max_epochs=9", "output_dir=x")))
    assert [(phase.train, phase.epochs) for phase in phases] == [("head", 2), ("50%", 3), ("all", 4)]


def test_lr_factor_and_overrides_of_a_phase() -> None:
    import torch

    cfg = typed(
        "freeze.phases=[{train: head, epochs: 1, lr_factor: 10}, {train: all, optimizer: {weight_decay: 0.5}}]",
        "optimizer.lr=1e-3", "output_dir=x",
    )  # fmt: skip
    head, everything = build_phases(TrainingRun(cfg))
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    assert head.optimizer(parameters).defaults["lr"] == pytest.approx(1e-2)
    assert everything.optimizer(parameters).defaults["weight_decay"] == 0.5
    assert everything.optimizer(parameters).defaults["lr"] == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ([], True),
        (["backbone.weights=null"], False),
        (["freeze.batch_norm=false"], False),
        (["task=segmentation"], False),  # head.norms
        (["task=segmentation", "freeze.batch_norm=true"], True),
    ],
)
def test_pretrained_batch_norm_stays_unless_told(settings: list[str], kept: bool) -> None:
    assert keeps_norms(typed(*settings, "output_dir=x")) == kept


def test_constraints_pin_every_direct_dependency() -> None:
    import tomllib

    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())
    pinned = {text.split("==")[0] for text in project["tool"]["uv"]["constraint-dependencies"]}
    direct = {text.split(">=")[0] for text in project["project"]["dependencies"]}
    assert direct <= pinned


@pytest.mark.parametrize("name", task_names())
def test_what_a_task_brings_holds(name: str) -> None:
    """No group that is composed after it takes it back, as the trainer did with the clipping of gradients."""
    brought = yaml.safe_load((CONF_DIR / "task" / f"{name}.yaml").read_text())
    brought.pop("defaults", None)
    brought = brought if "task" in brought else {"task": brought}  # which stands without its group
    composed = OmegaConf.to_container(compose("output_dir=x", f"task={name}"), resolve=True)
    values = list(leaves(brought))
    assert values and all(dict(leaves(composed))[key] == value for key, value in values), values
