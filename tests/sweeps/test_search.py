"""What a search does without training: its space, its journal, its choices, its pages. Whole ones: test_search_runs."""

import math
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import Answer, compose
from omegaconf import DictConfig
from support.slow import one_in

from src.cli.own_experiment import with_own_experiments
from src.reports.charts import BLUE
from src.reports.search_charts import TrialPoint, draw_history, draw_settings
from src.settings.errors import ConfigError
from src.sweeps.results import SweepResults
from src.sweeps.search.best import OnTest, write_best
from src.sweeps.search.composing import Composer, Plan
from src.sweeps.search.ending import asked_to_end
from src.sweeps.search.importance import importances
from src.sweeps.search.loop import Loop
from src.sweeps.search.outcome import SearchReport
from src.sweeps.search.page import write_search_page
from src.sweeps.search.places import places_for, trial_environ
from src.sweeps.search.settings import SearchSettings
from src.sweeps.search.space import Choice, Numbers, read_space
from src.sweeps.search.study import Study, Tried, require_optuna
from src.sweeps.search.trial import Trial

SETTINGS = SearchSettings(30, None, "tpe", "hyperband", 0, None)
PLAN = Plan("val/acc", "max", 9, 1, "gpu", 1, True)


@pytest.mark.parametrize(
    ("typed", "found", "ends"),
    [
        ("a=interval(1e-5,1e-1)", Numbers("a", "a", 1e-5, 1e-1, log=True), ["1e-05", "0.1"]),
        ("a=interval(0.1,0.5)", Numbers("a", "a", 0.1, 0.5), ["0.1", "0.5"]),
        ("a=tag(linear,interval(1e-5,1e-1))", Numbers("a", "a", 1e-5, 1e-1), ["1e-05", "0.1"]),
        ("a=tag(log,interval(1,4))", Numbers("a", "a", 1.0, 4.0, log=True), ["1.0", "4.0"]),
        ("a=int(interval(8,64))", Numbers("a", "a", 8, 64, whole=True), ["8", "64"]),
        ("a=range(1,10,2)", Numbers("a", "a", 1, 9, whole=True, step=2), ["1", "9"]),
        ("a=range(0,0.35,0.1)", Numbers("a", "a", 0.0, 0.3, step=0.1), ["0.0", "0.3"]),
        ("a=choice(none,head_then_all)", Choice("a", "a", ("none", "head_then_all")), ["none", "head_then_all"]),
        ("+a.b=1,2,2", Choice("a.b", "+a.b", ("1", "2")), ["1", "2"]),
        ("a=[1,2],[3]", Choice("a", "a", ("[1,2]", "[3]")), ["[1,2]", "[3]"]),
    ],
)  # fmt: skip
def test_values_are_as_the_grammar_says(typed: str, found: Choice | Numbers, ends: list[str]) -> None:
    space = read_space(["seed=3", typed])
    assert space.dimensions == (found,) and list(found.ends()) == ends and space.fixed == ("seed=3",)
    assert space.overrides({found.key: ends[0]}) == ["seed=3", f"{found.typed}={ends[0]}"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("a=interval(3,1)", "the interval is empty"),
        ("a=interval(1,1)", "the interval is empty"),
        ("a=range(5,1)", "the range is empty"),
        ("a=tag(log,interval(0,1))", "a logarithmic scale begins above 0"),
        ("a=tag(lgo,interval(1,2))", r"tag\(lgo\) is not known"),
        ("a=interval(1)", "a=interval.* is not understood"),
        ("seed=1,2", "seed cannot be searched: .* luck"),
        ("data.fold=range(3)", "data.folds=<number> alone makes each trial the mean"),
        ("a=3", "nothing to search"),
    ],
)
def test_what_cannot_be_searched_is_said(typed: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_space([typed])


def test_numbers_have_the_digits_that_matter_and_stay_within() -> None:
    assert Numbers("a", "a", 1e-5, 0.1, log=True).text(0.00123456) == "0.001235"
    assert Numbers("a", "a", 0.9, 0.9002).text(0.90004567) == "0.9000457"
    assert Numbers("a", "a", 0.123456, 0.9).text(0.123456) == "0.123456"


@pytest.mark.parametrize(
    ("typed", "said"),
    one_in(
        5,
        [
            (["optimizer.lrr=interval(1e-5,1e-1)"], "optimizer.lrr is no setting. Did you mean 'optimizer.lr'?"),
            (["optimizer.lr=interval(0,1)"], "optimizer.lr=0 is out of range"),
            (["freeze=none,hed_only"], "freeze='hed_only' does not exist. Did you mean 'head_only'?"),
            (["data.batch_size=interval(8,64)"], "Whole numbers: data.batch_size=int(interval(8,64))."),
            (["optimizer.lr=1e-3,1e-2", "search.trails=3"], "Did you mean 'search.trials'?"),
            (["optimizer.lr=1e-3,1e-2", "search.trials=0"], "search.trials=0 is out of range: it must be at least 1."),
            (["optimizer.lr=1e-3,1e-2", "callbacks=none"], "callbacks.epoch_log"),
            (["optimizer.lr=1e-3,1e-2", "search.pruner=halving"], "Allowed: none, median, hyperband."),
        ],
    ),
)
def test_mistakes_of_a_search(command: Callable[..., Answer], typed: list[str], said: str, tmp_path: Path) -> None:
    answer = command("train", "-m", "sweep=search", *typed, f"hydra.sweep.dir={tmp_path}/search")
    assert answer.status == 1 and said in answer.err and len(answer.err.splitlines()) == 1
    assert not (tmp_path / "search").exists()


def test_intervals_and_settings_of_a_search_need_one(command: Callable[..., Answer], tmp_path: Path) -> None:
    for arguments in (["optimizer.lr=interval(1,2)"], ["search.trials=3"]):
        answer = command("train", *arguments, f"hydra.run.dir={tmp_path}/run")
        assert answer.status == 1 and "add -m sweep=search" in answer.err


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match="uv sync --extra search"):
        require_optuna()


# ------------------------------------------------------------------------------------------------------ the journal

SPACE = read_space(["lr=interval(1e-5,1e-1)", "freeze=choice(none,all)", "dropout=interval(0,0.5)", "trainer=cpu"])
EPOCHS = 9


def curve(values: dict[str, str]) -> list[float]:
    """Of a made-up training: best at a rate of 1e-3, a little better if everything trains, whatever the dropout."""
    distance = abs(math.log10(float(values["lr"])) + 3) / 3
    top = 0.95 - 0.3 * distance - (0.02 if values["freeze"] == "none" else 0)
    return [top - 0.4 * 0.6**epoch for epoch in range(EPOCHS)]


def run_trial(study: Study, number: int, values: dict[str, str], begin: int = 0, end: int = EPOCHS) -> None:
    """From an epoch on; up to another, where it is interrupted."""
    for epoch, value in enumerate(curve(values)[begin:end], start=begin + 1):
        if study.report(number, {epoch: value}) and epoch < EPOCHS:
            study.tell(number, "pruned")
            return
    if end == EPOCHS:
        study.tell(number, "done", curve(values)[-1])


def journal(file: Path | None = None) -> Study:
    require_optuna()
    return Study(SPACE, SETTINGS, "max", EPOCHS, file)


def test_a_search_that_was_interrupted_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = journal()
    for _ in range(16):
        run_trial(whole, *whole.ask())
    file = tmp_path / "search.jsonl"
    for last in (5, 11, 16):
        study = journal(file)
        for number, values in study.reopened():
            run_trial(study, number, values, begin=1)
        while len(study.tried()) < last:
            run_trial(study, *study.ask())
        if last < 16:
            run_trial(study, *study.ask(), end=1)
            with file.open("a") as lines:
                lines.write('{"op_code": 4, "wor')  # killed while it wrote
    assert study.tried() == whole.tried()
    assert {one.status for one in whole.tried()} == {"done", "pruned"}
    best = whole.best()
    assert best is not None and best.value == max(one.value or 0 for one in whole.tried() if one.status == "done")


def test_a_journal_is_of_one_search(tmp_path: Path) -> None:
    file = tmp_path / "search.jsonl"
    journal(file)
    other = read_space(["lr=interval(1e-5,1e-2)", "trainer=cpu"])
    with pytest.raises(ConfigError, match=r"holds another search: space was lr: 1e-05 to 0\.1"):
        Study(other, SETTINGS, "max", EPOCHS, file)


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"op_code": 77, "worker_id": "a"}', '{"op_code": 0}'])
def test_a_damaged_journal_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "search.jsonl"
    file.write_text(f"{line}\n")
    with pytest.raises(ConfigError, match=r"search\.jsonl' cannot be read"):
        journal(file)


def test_values_of_a_journal_that_is_not_ours_are_refused(tmp_path: Path) -> None:
    """They would be settings of the next trial, and settings can name code."""
    file = tmp_path / "search.jsonl"
    journal(file).ask()
    text = file.read_text()
    other_choice = text.replace('\\"none\\", \\"all\\"', '\\"{_target_: os.abort}\\", \\"{_target_: os.abort}\\"')
    other_number = re.sub(r'"dropout","param_value_internal":[^,]+', '"dropout","param_value_internal":7.5', text)
    for other, said in ((other_choice, "freeze='{_target_"), (other_number, "dropout=7.5")):
        assert other != text
        file.write_text(other)
        with pytest.raises(ConfigError, match=f"The journal has {said}"):
            journal(file).reopened()


def test_trials_that_failed_or_diverged_are_told_apart() -> None:
    study = journal()
    for status in ("failed", "diverged"):
        number, _ = study.ask()
        study.tell(number, status, error="because")
    assert [(one.status, one.error, one.value) for one in study.tried()] == [
        ("failed", "because", None), ("diverged", "because", None),
    ]  # fmt: skip
    assert study.best() is None and importances(study) == []


@pytest.mark.slow
def test_what_matters_is_told_from_what_does_not() -> None:
    study = journal()
    for _ in range(40):
        run_trial(study, *study.ask())
    found = {one.key: one for one in importances(study)}
    assert found["lr"].share > 0.5 and found["lr"].chance < 0.05 < found["dropout"].chance
    assert all(0 <= one.low <= one.high <= 1 for one in found.values())


# ---------------------------------------------------------------------------------------------------- trials, pages


def test_the_value_of_a_fold_counts_those_before(tmp_path: Path) -> None:
    plan = Plan("val/acc", "max", 9, 3, "cpu", 1, True)
    trial = Trial(0, {}, [], tmp_path, plan, compose, {}, results=[0.8])
    (tmp_path / "fold_1").mkdir()
    (tmp_path / "fold_1" / "epochs.csv").write_text("epoch,val/acc\n1,0.5\n2,0.4\n3,0.7\n")
    assert trial.new_values() == pytest.approx({10: 0.65, 11: 0.65, 12: 0.75})
    assert trial.new_values() == {}, "the file is as it was"


def test_each_trial_has_gpus_of_its_own() -> None:
    gpus = ["2", "5", "7", "9"]
    assert places_for(SETTINGS, PLAN, gpus) == 4 and places_for(SETTINGS, PLAN, []) == 1
    assert [trial_environ(PLAN, place, 4, gpus)["CUDA_VISIBLE_DEVICES"] for place in range(4)] == gpus
    pairs = Plan("val/acc", "max", 9, 1, "gpu", 2, True)
    assert places_for(SETTINGS, pairs, gpus) == 2
    assert [trial_environ(pairs, place, 2, gpus)["CUDA_VISIBLE_DEVICES"] for place in range(2)] == ["2,5", "7,9"]
    with pytest.raises(ConfigError, match="needs 6 GPUs, and there are 4"):
        places_for(SearchSettings(30, 3, "tpe", "none", 0, None), pairs, gpus)


def test_a_search_hears_signals_but_those_that_were_ignored() -> None:
    """As under nohup, and in the background of a shell's script."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with asked_to_end() as heard:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_settings_that_do_not_go_together_fail_a_trial_and_three_of_them_the_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(typed: list[str]) -> DictConfig:
        raise ConfigError(f"trainer.max_epochs={len(typed)} is too short")

    study = journal()
    loop = Loop(tmp_path, study, Composer(load), PLAN, SETTINGS, 1, [])
    loop.start_new(0)
    loop.start_new(0)
    with pytest.raises(ConfigError, match="The first 3 trials failed, all for the same reason"):
        loop.start_new(0)
    assert [one.status for one in study.tried()] == ["failed"] * 3 and loop.running == {}
    assert capsys.readouterr().out.count("failed: trainer.max_epochs=") == 3
    assert [row["status"] for row in SweepResults.read(tmp_path).rows] == ["failed"] * 3


def test_best_yaml_says_what_the_best_trial_was(tmp_path: Path) -> None:
    """With the experiment that it builds on, groups, values, and what only a command line can say."""
    typed = [
        "sweep=search", "experiment=lp_ft", "optimizer=adamw,sgd", "optimizer.lr=interval(1e-5,1e-1)", "trainer=cpu",
        "freeze.phases.0.epochs=2", "data.batch_size=range(8,32,8)", 'name="a: b"', 'data.classes="x"', "resume=null",
        "task=classification", "test=false", "~callbacks.image_grid", "head.dropout=0.1", "output_dir=nowhere",
        "logger=[csv,tensorboard]",
    ]  # fmt: skip
    values = {"optimizer": "sgd", "optimizer.lr": "0.00123", "data.batch_size": "16"}
    command = write_best(tmp_path, read_space(typed), Tried(3, values, "done", 0.9, 9), ["the best: of 3"])
    assert command == (
        f"python -m src.train experiment={tmp_path}/best.yaml freeze.phases.0.epochs=2 '~callbacks.image_grid'"
    )
    content = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert content["data"] == {"batch_size": 16, "classes": "x"} and "name" not in content and "test" not in content
    cfg = compose(*with_own_experiments([f"experiment={tmp_path}/best.yaml"]), "output_dir=x")
    assert cfg.optimizer._target_ == "torch.optim.SGD" and cfg.optimizer.lr == 0.00123
    assert cfg.trainer.max_epochs == 12 and cfg.trainer.accelerator == "cpu" and cfg.head.dropout == 0.1
    assert [phase.train for phase in cfg.freeze.phases] == ["head", "all"] and set(cfg.logger) == {"csv", "tensorboard"}


def test_the_page_says_how_many_were_tried_and_that_the_best_flatters(tmp_path: Path) -> None:
    study = journal()
    for _ in range(12):
        run_trial(study, *study.ask())
    tried, best = study.tried(), study.best()
    test = OnTest({"test/acc": 0.91}, {"test/acc": (0.88, 0.94)})
    write_search_page(tmp_path / "a.html", SearchReport(tmp_path, study, PLAN, tried, best, test, "do <it>", []))
    page = (tmp_path / "a.html").read_text()
    assert best is not None and f"{best.value:.4f} is the best of 12 trials" in page and "it flatters" in page
    assert "test/acc 0.9100 (95 % CI 0.8800..0.9400)" in page and "do &lt;it&gt;" in page and page.count("<img") == 2


def test_charts_have_what_they_are_given() -> None:
    points = [TrialPoint(n, math.nan if n == 2 else 0.5 + n / 20, n % 2 == 0, {"a": f"{10.0**-n}"}) for n in range(6)]
    chart = draw_history(points, "val/acc", True)
    assert BLUE in {color for _, color in chart.getcolors(10**6) or []}
    two = [replace(point, values={**point.values, "b": "x y", "c": "1"}) for point in points]
    one, three = draw_settings(points, {"a": True}, "x"), draw_settings(two, {"a": True, "b": None, "c": False}, "x")
    assert one.width == three.width and one.height < three.height
