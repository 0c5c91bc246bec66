"""What people type, with the letters that they have: taken as it is meant, or told how to write it."""

import random
import string
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Answer
from hydra.core.override_parser.overrides_parser import OverridesParser
from support.slow import one_in

from src.cli.command_line import may_sweep, prepare, require_known_options
from src.cli.quoting import quoted, value_of
from src.settings.errors import ConfigError

TEXTS = [
    "Käse", "画像", "dog (big)", "set #2", "new: images", "a=b", "a,b", "[x]", "{x}", "50%", "don't", 'say "hi"',
    "C:\\imgs\\",
    "x~", "x y", "$5", "null_", "1e5", "true", "007", "a;b", "`id`", "\\", '\\"', "a|b", "é&è", "*?", "-1", "@", "a\tb",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("key", ["data.root", "class_name", "data.group_column"])
def test_free_text_arrives_as_it_was_typed(key: str, text: str) -> None:
    (argument,), _ = prepare([f"{key}={text}"])
    assert value_of(argument) == text


def test_any_text_arrives_as_it_was_typed() -> None:
    letters = random.Random(0)
    for _ in range(300):
        text = "".join(letters.choices(string.printable.strip() + " äß画\\\"'$#", k=letters.randrange(1, 12)))
        if not text.startswith(("'", '"', "${")) and text not in ("null", "???", "~"):
            (argument,), _ = prepare([f"class_name={text}"])
            assert value_of(argument) == text
        assert OverridesParser.create().parse_override(f"x={quoted(text)}").value() == text


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("data.label_columns=[größe, b c]", ["größe", "b c"]),
        ("data.label_columns=größe", "größe"),
        ("data.label_columns=[a,b]", ["a", "b"]),
        ("seed=3", 3),
        ("optimizer.betas=[0.9,0.99]", [0.9, 0.99]),
        ("test=false", False),
        ("name=null", None),
        ("name='a b'", "a b"),
        ('data.root="a b"', "a b"),
        ("freeze.phases=[{train: head, epochs: 2}]", [{"train": "head", "epochs": 2}]),
        ("augment.policy=träge", "träge"),  # a setting that knows no such word says so itself
    ],
)
def test_values_keep_their_kinds(argument: str, value: object) -> None:
    (prepared,), _ = prepare([argument])
    assert value_of(prepared) == value


def test_an_interpolation_stays_one() -> None:
    assert prepare(["name=${backbone.name}"])[0] == ["name=${backbone.name}"]


def test_sweeps_over_text() -> None:
    prepared, _ = prepare(["-m", "data.root=/a b,/ü", "name=x,y"])
    parse = OverridesParser.create().parse_override
    assert [list(parse(text).sweep_string_iterator()) for text in prepared[:2]] == [["/a\\ b", '"/ü"'], ["x", "y"]]


@pytest.mark.parametrize("key", ["output_dir", "data.root", "resume", "ckpt", "images", "hydra.run.dir"])
def test_an_empty_path_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}= is empty"):
        prepare([f"{key}="])


@pytest.mark.parametrize("argument", ["=5", "seed = 1", "seed =1", "a b=1"])
def test_what_is_no_setting_is_told(argument: str) -> None:
    with pytest.raises(ConfigError, match="no blanks around the ="):
        prepare([argument])


@pytest.mark.parametrize("argument", ["--ckpt", "--ckpt=x", "-ckpt=x", "-x", "-1"])
def test_what_is_typed_as_for_other_programs_is_told(argument: str) -> None:
    with pytest.raises(ConfigError, match=f"{argument} is no option: settings are given without dashes"):
        require_known_options(["seed=1", argument, "-m", "--cfg", "job"])


def test_what_changes_a_resumed_run_is_kept_apart() -> None:
    kept, changes = prepare(["resume=x", "trainer.max_epochs=5", "data.root=a #b", "~callbacks.figures", "trust=true"])
    assert kept == ['resume="x"', "trust=true"] and changes[2] == "~callbacks.figures"
    assert changes[:2] == ["trainer.max_epochs=5", 'data.root="a #b"'] and value_of(changes[1]) == "a #b"


def test_options_stand_anywhere() -> None:
    for typed in (["seed=0,1", "-m", "name=a"], ["-m", "seed=0,1", "name=a"], ["seed=0,1", "name=a", "-m"]):
        prepared, _ = prepare(typed)
        assert prepared[:2] == ["seed=0,1", 'name="a"'] and prepared[-1] == "-m"
    assert prepare(["--cfg", "job", "output_dir=x"])[0] == ['output_dir="x"', 'hydra.run.dir="x"', "--cfg", "job"]


def test_where_a_run_goes_brings_no_sweep() -> None:
    """For which Hydra would compose all settings a second time."""
    assert not may_sweep(prepare(["output_dir=x", "data=folder"])[0]) and not may_sweep(["hydra.sweep.dir=x"])
    for typed in ("-m", "sweep=seeds", "+experiment=full", "hydra.mode=MULTIRUN", "hydra/sweeper=basic"):
        assert may_sweep(["output_dir=x", typed])


def test_a_resumed_run_keeps_its_directory(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "last.ckpt").touch()
    for resume in ("run", "run/checkpoints", "run/checkpoints/last.ckpt"):
        with pytest.raises(ConfigError, match="a resumed run goes on in its own directory"):
            prepare([f"resume={tmp_path}/{resume}", f"output_dir={tmp_path}/other"])
        prepare([f"resume={tmp_path}/{resume}", f"hydra.run.dir={tmp_path}/run"])  # as Lightning starts processes


@pytest.mark.parametrize("argument", ["output_dir=x", "resume=x"])
def test_what_a_sweep_cannot_share(command: Callable[..., Answer], argument: str) -> None:
    answer = command("train", "seed=0,1", "-m", argument)
    assert answer.status == 1 and "hydra.sweep.dir=" in answer.err


def test_a_folder_that_is_no_run(command: Callable[..., Answer], colors: Path) -> None:
    before = sorted(colors.rglob("*"))
    answer = command("train", f"resume={colors}")
    assert (
        answer.status == 1 and "is no run: expected its directory" in answer.err and sorted(colors.rglob("*")) == before
    )


def test_evaluate_changes_its_own_data() -> None:
    assert prepare(["data.batch_size=4", "data=folder"], "evaluate")[0] == ["++data.batch_size=4", "data=folder"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    one_in(
        3,
        [
            (["optimizer.lr=1=2"], "optimizer.lr='1=2' is not a number."),
            (["test=maybe"], "test='maybe' is not true or false."),
            (["task=/etc/passwd"], "task='/etc/passwd' does not exist. Options: classification"),
            (["head=[linear,nosuch]"], "head='nosuch' does not exist. Options: deeplabv3, faster_rcnn, fcn, fcos,"),
            (["optimizer=1"], "optimizer='1' does not exist."),
            (["freeze.phases=[1]"], "freeze.phases[0]=1 is not understood"),
            (["freeze.phases=["], "freeze.phases="),
            (
                ["freeze.phases=[{trainn: all}]"],
                "trainn is no setting of a phase. Did you mean 'train'?",
            ),
            (
                ["freeze=head_then_all", "freeze.phases.0.optimizer.lr=-1"],
                "freeze.phases.0.optimizer.lr is not there yet: +freeze.phases.0.optimizer.lr=<value> adds it.",
            ),
            (["~callbacks.image_grid", "debug=fast_dev_run"], "~callbacks.image_grid takes away what is not there."),
            (["data.root=x"], "It is a setting of data=auto, data=coco, data=csv, data=folder"),
            (["~data"], "data._target_=None names nothing that can be built"),
            (["name=${x}"], "${x} stands for no setting."),
            (["data.num_workers=`id`"], "data.num_workers='`id`' is not a whole number."),
            (["trainer.devices=abc"], "trainer.devices='abc' is not understood"),
            (["soup=" + "1" * 400], "is out of range"),
            (["data.batch_size=2.5"], "data.batch_size=2.5 is not a whole number."),
            (["freeze.phases=[{train: head, optimizer: {lr: -1}}]"], "freeze.phases.0.optimizer.lr=-1 is out of range"),
            (["freeze.phases=[{train: head, lr_factor: nan}]"], "freeze.phases.0.lr_factor=nan is out of range"),
            (["scheduler=plateau", "+trainer.limit_val_batches=0"], "measures no val"),
            (["data._target_=builtins.dict"], "data._target_='builtins.dict' is no data module"),
            (["task.name=builtins"], "task.name='builtins' is not allowed"),
            (["+callbacks.x._target_=os.getpid"], "makes a int, and a callback (lightning.Callback) belongs there"),
            (["+callbacks.x=text"], "callbacks.x=text names nothing: give callbacks.x._target_=<class>."),
            (["output_dir=/dev/null"], "output_dir='/dev/null' cannot be used: File exists"),
            (["output_dir=/proc/nowhere"], "output_dir='/proc/nowhere' cannot be used: No such file"),
        ],
    ),
)
def test_mistakes_are_told_in_one_message(command: Callable[..., Answer], arguments: list[str], message: str) -> None:
    answer = command("train", *arguments, "trainer.accelerator=cpu")
    assert answer.status == 1 and message in answer.err and "Traceback" not in answer.err
    assert len(answer.err.splitlines()) < 5


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("predict", ["task=detection"], "task is no setting. Did you mean"),  # a group of other commands
        ("choose", ["backbone=resnet18"], "backbone is no setting. Did you mean 'backbones'?"),
        ("choose", ["presets=3"], "presets takes settings, {key: value}, and got one value."),
        ("train", ["freeze.phases={a: 1}"], "freeze.phases takes a list, [a,b]."),
        ("train", ["sweep=search", "search.trails=3", "seed=interval(1,5)"], "Did you mean 'search.trials'?"),
        ("label_next", ["ckpt=[a,b]"], "ckpt takes one value, and got a list, [a,b]."),
    ],
)
def test_mistakes_of_other_commands(
    command: Callable[..., Answer], name: str, arguments: list[str], message: str
) -> None:
    answer = command(name, *arguments)
    assert answer.status == 1 and message in answer.err and len(answer.err.splitlines()) == 1
