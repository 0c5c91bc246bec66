"""Trying out rates and batch sizes: what is found, that it is used, and that nothing else of the run changes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMALL, Answer, Run, Runner, compose, resolved, run_train, typed
from support.watching import TRUSTED, Stop, stopped

from src.settings.project import PROJECT_ROOT
from src.train import train
from src.training.tuning import batch_size, learning_rate
from src.training.tuning.batch_size import begin_largest_phase
from src.training.tuning.learning_rate import range_test, smooth, suggest
from src.training.tuning.rehearsal import rehearsal, training_batches


@pytest.fixture(scope="module")
def plain(colors: Path) -> tuple[str, ...]:
    return ("data=folder", f"data.root={colors}", "data.image_size_px=32", "data.batch_size=16", "test=false")


SHORT = np.geomspace(1e-5, 0.1, 40)


# The constants of the two finders are no settings, on purpose: shorter tests, and limits that a test can reach on any
# machine, are set in their modules. No function is replaced.
@pytest.fixture(autouse=True)
def short_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning_rate, "RATES", SHORT)


def require_equal_runs(one: Run, other: Run) -> None:
    """Bit-equal weights and optimizer states, equal metrics."""
    a, b = one.checkpoint("last"), other.checkpoint("last")
    for key, value in a["state_dict"].items():
        assert torch.equal(value, b["state_dict"][key]), key
    assert str(a["optimizer_states"]) == str(b["optimizer_states"])
    ours = [
        {k: v for k, v in run.metrics.items() if k != "fit_seconds" and not k.startswith("lr_find")}
        for run in (one, other)
    ]
    assert ours[0] == pytest.approx(ours[1], nan_ok=True)


def rates_of(run: Run) -> list[float]:
    return [value for name, value in sorted(run.metrics.items()) if name.startswith("lr_find/phase_")]


# ------------------------------------------------------------------------------------------------------ learning rate


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ["trainer.accumulate_grad_batches=2", "augment.mixup=0.4", "data.num_workers=1", "scheduler=onecycle"],
        ["backbone=shufflenet_v2_x0_5", "backbone.weights=null", "trainer.gradient_clip_val=1"],
    ],
)
def test_a_run_with_the_found_rate_typed_is_the_same_run(
    tmp_path: Path, plain: tuple[str, ...], settings: list[str]
) -> None:
    """So the test has left no trace: not in weights, BatchNorm statistics, random numbers, order, nor metrics."""
    found = run_train(tmp_path / "found", *plain, *settings, "lr_find=true")
    (rate,) = rates_of(found)
    assert rate not in (3e-4, 1e-3) and f"{rate:.2g}" in f"{rate}"
    typed = run_train(tmp_path / "typed", *plain, *settings, f"optimizer.lr={rate}")
    require_equal_runs(found, typed)
    rows = found.csv("report/lr_find_phase_1.csv")
    assert list(rows[0]) == ["lr", "loss", "smoothed"] and 10 < len(rows) <= 40
    assert (found.directory / "report" / "lr_find_phase_1.png").stat().st_size > 5000
    assert f"The rate of this phase becomes {rate:g}" in found.log
    assert not rates_of(typed) and not (typed.directory / "report" / "lr_find_phase_1.csv").exists()


@pytest.mark.slow
def test_each_phase_has_a_rate_of_its_own(tmp_path: Path, plain: tuple[str, ...]) -> None:
    """Found on the weights that the phase begins with; the phase's lr_factor does not multiply it."""
    plan = [*plain, "freeze=head_then_all", "freeze.phases.0.epochs=1", "scheduler=constant"]
    cached = ["augment=none", "data.cache=features", f"data.cache_dir={tmp_path}/cache"]
    found = run_train(tmp_path / "found", *plan, *cached, "lr_find=true")
    rates = rates_of(found)
    assert len(rates) == 2 and rates[0] > rates[1]  # the head alone bears more
    typed = [f"+freeze.phases.{i}.optimizer.lr={rate}" for i, rate in enumerate(rates)]
    require_equal_runs(found, run_train(tmp_path / "typed", *plan, *cached, *typed))
    assert found.checkpoint("last")["optimizer_states"][0]["param_groups"][0]["lr"] == rates[1]
    assert (found.directory / "report" / "lr_find_phase_2.png").exists()


@pytest.fixture(scope="module")
def two_phases(plain: tuple[str, ...]) -> tuple[str, ...]:
    return (*plain, "trainer.max_epochs=4", "freeze=head_then_all", "freeze.phases.0.epochs=2", "lr_find=true")


@pytest.fixture(scope="module")
def whole(two_phases: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning_rate, "RATES", SHORT)
        return run_train(tmp_path_factory.mktemp("whole") / "run", *two_phases)


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "tests_after"), [(1, 1), (3, 0)])
def test_a_resumed_run_goes_on_with_the_rates_it_had(
    tmp_path: Path,
    two_phases: tuple[str, ...],
    whole: Run,
    epoch: int,
    tests_after: int,
) -> None:
    """Interrupted within the first phase, and within the second: only a phase that has not begun is tested."""
    with stopped(epoch) as stopping, pytest.raises(Stop):
        run_train(tmp_path / "run", *two_phases, *stopping)
    run = Run(tmp_path / "run", None)
    before = run.log.count("The rate of this phase becomes")
    train(compose(f"output_dir={tmp_path}/run", "resume=auto", TRUSTED, *SMALL, *two_phases, *stopping))
    assert run.log.count("The rate of this phase becomes") - before == tests_after
    assert rates_of(run) == rates_of(whole) and len(rates_of(run)) == 2
    require_equal_runs(whole, run)


def build(*settings: str) -> tuple[Any, Any, Any]:
    from src.build.data import build_datamodule
    from src.build.task import build_task
    from src.build.trainer import build_trainer
    from src.runs.run import TrainingRun
    from src.tasks.classification.task import ClassificationTask

    cfg = typed(*SMALL, "output_dir=nowhere", *settings)
    datamodule = build_datamodule(cfg)
    run = TrainingRun(cfg)
    task = build_task(ClassificationTask, run, datamodule)
    task.begin_phase(0, 0)
    return task, datamodule, build_trainer(run)


@pytest.mark.slow
def test_frozen_modules_stay_frozen_and_groups_keep_their_proportions(
    plain: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["backbone=shufflenet_v2_x0_5", "backbone.weights=null", "optimizer=adam"]
    phases = ["freeze.phases=[{train: conv5}]", "param_groups.layer_decay=0.5", "param_groups.head_lr_factor=3"]
    task, datamodule, trainer = build(*plain, *settings, *phases)
    rates, adam_step = [], torch.optim.Adam.step

    def step(optimizer: torch.optim.Adam, *arguments: Any) -> Any:
        rates.append([group["lr"] for group in optimizer.param_groups])
        return adam_step(optimizer, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    random = torch.random.get_rng_state()
    with rehearsal(task, datamodule, trainer) as copied:
        swept, losses = range_test(copied, training_batches(datamodule, trainer), trainer)
        after = copied.state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert {"model.net.conv5.1.running_mean", "model.net.conv5.0.weight", "model.net.fc.weight"} <= moved
    assert all(name.startswith(("model.net.conv5.", "model.net.fc.")) for name in moved)
    assert all(torch.equal(value, task.state_dict()[name]) for name, value in before.items())
    assert torch.equal(random, torch.random.get_rng_state()) and datamodule.trainer is None
    assert len(losses) == len(swept) <= len(rates)
    for rate, group_rates in zip(swept, rates, strict=False):
        assert sorted(set(group_rates)) == pytest.approx([0.5 * rate, 3 * rate])


@pytest.mark.slow
def test_a_loss_that_never_falls_changes_nothing(
    tmp_path: Path, plain: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning_rate, "RATES", np.geomspace(1e-12, 1e-10, 30))
    run = run_train(tmp_path / "run", *plain, "lr_find=true", "trainer.max_epochs=1", "scheduler=constant")
    assert "the rate of this phase stays 0.0003" in run.log and not rates_of(run)
    assert run.checkpoint("last")["optimizer_states"][0]["param_groups"][0]["lr"] == 3e-4
    assert len(run.csv("report/lr_find_phase_1.csv")) == 30


def test_a_rate_is_suggested_where_the_curve_says_something() -> None:
    rates = np.geomspace(1e-6, 1, 100)
    noise = 0.1 * np.random.default_rng(0).standard_normal(100)
    falling = 2.3 - 2 / (1 + 1e-4 / rates) + (rates / 1e-2) ** 2
    found, _ = suggest(rates, falling + noise)
    assert suggest(rates, falling)[0] == pytest.approx(5.3e-4, rel=0.05)  # 90 % of the way to 2.2e-3
    assert found is not None and 5.3e-4 / 2 < found < 5.3e-4 * 2
    assert suggest(rates, 2.3 + noise)[0] is None
    assert suggest(rates, 2.3 + noise + (rates / 1e-2) ** 2)[0] is None
    assert suggest(rates[:1], falling[:1])[0] is None and suggest(rates[:0], falling[:0])[0] is None
    assert np.argmin(smooth(falling)) == pytest.approx(falling.argmin(), abs=3)  # no lag


# --------------------------------------------------------------------------------------------------------- batch size


@pytest.fixture
def faster_with_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "MIN_GAIN", 0.0)  # whatever this machine is doing meanwhile


@pytest.mark.slow
@pytest.mark.usefixtures("faster_with_each_size")
def test_a_run_with_the_found_size_typed_is_the_same_run(tmp_path: Path, plain: tuple[str, ...]) -> None:
    """42 training images: steps of 4 leave 11 an epoch, steps of 8 only 6."""
    settings = [*plain, "freeze=head_then_all", "freeze.phases.0.epochs=1", "data.batch_size=2"]
    found = run_train(tmp_path / "found", *settings, "batch_size_find=true")
    assert resolved(found.directory / "config.yaml")["data"]["batch_size"] == 4
    assert found.checkpoint()["finetune"]["config"]["data"]["batch_size"] == 4
    assert found.metrics["steps"] == 2 * 11
    require_equal_runs(found, run_train(tmp_path / "typed", *settings, "data.batch_size=4"))
    rows = found.csv("report/batch_size.csv")
    assert list(rows[0]) == ["batch_size", "images_per_s", "memory_mib"]
    assert [row["batch_size"] for row in rows] == ["2", "4"] and float(rows[1]["images_per_s"]) > 0
    assert "data.batch_size=4 for this run: 8 would leave an epoch fewer than 8 steps" in found.log
    assert "optimizer.lr stays as it is" in found.log


def test_the_phase_that_trains_most_is_measured(plain: tuple[str, ...]) -> None:
    task, _, _ = build(*plain, "trainer.max_epochs=3", "freeze.phases=[{train: head}, {train: all}, {train: 50%}]")
    begin_largest_phase(task)
    assert task.phase.train == "all" and all(p.requires_grad for p in task.model.net.parameters())


@pytest.mark.parametrize(
    ("constant", "value", "text"),
    [
        ("MIN_GAIN", 1e9, "4 is not"),
        ("MEMORY_SHARE", -1.0, "4 might need more than"),
        ("MIN_STEPS", 100, "4 would leave an epoch fewer than 100 steps"),
    ],
)
def test_what_ends_the_doubling(
    tmp_path: Path, plain: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, constant: str, value: float, text: str
) -> None:
    monkeypatch.setattr(batch_size, "MIN_GAIN", 0.0)
    monkeypatch.setattr(batch_size, constant, value)
    run = run_train(
        tmp_path / "run", *plain, "data.batch_size=2", "batch_size_find=true", "trainer.max_epochs=1",
        "freeze=head_only",
    )  # fmt: skip
    assert f"data.batch_size=2 for this run: {text}" in run.log and "optimizer.lr stays" not in run.log
    assert resolved(run.directory / "config.yaml")["data"]["batch_size"] == 2


class HungryLoss(torch.nn.CrossEntropyLoss):
    """Of a user: as on a GPU whose memory three images fill."""

    def forward(self, outputs_BK: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and len(outputs_BK) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore.")
        return super().forward(outputs_BK, target)


@pytest.mark.usefixtures("faster_with_each_size")
def test_a_size_that_does_not_work_ends_the_doubling(tmp_path: Path, plain: tuple[str, ...]) -> None:
    """The first size is the user's own, and its error too."""
    settings = [*plain, "batch_size_find=true", "trainer.max_epochs=1", "freeze=head_only"]
    settings.append("loss._target_=test_finders.HungryLoss")
    run = run_train(tmp_path / "run", *settings, "data.batch_size=2")
    assert "data.batch_size=2 for this run: 4 does not work (CUDA out of memory. Tried to" in run.log
    with pytest.raises(torch.OutOfMemoryError):
        run_train(tmp_path / "other", *settings, "data.batch_size=4")


@pytest.mark.slow
@pytest.mark.usefixtures("faster_with_each_size")
def test_a_resumed_run_keeps_the_size_it_had(tmp_path: Path, plain: tuple[str, ...]) -> None:
    settings = [*plain, "freeze=head_only", "data.batch_size=2", "batch_size_find=true"]
    with stopped(epoch=1) as stopping, pytest.raises(Stop):
        run_train(tmp_path / "run", *settings, *stopping)
    (tmp_path / "run" / "report" / "batch_size.csv").unlink()
    train(compose(f"output_dir={tmp_path}/run", "resume=auto", TRUSTED, *SMALL, *settings, *stopping))
    run = Run(tmp_path / "run", None)
    assert run.metrics["steps"] == 2 * 11 and run.checkpoint("last")["finetune"]["config"]["data"]["batch_size"] == 4
    assert not (tmp_path / "run" / "report" / "batch_size.csv").exists()


@pytest.mark.slow
def test_memory_is_measured() -> None:
    """In a process of its own: what other tests have freed may come back to the system at any moment."""
    code = (
        "import torch; from src.training.tuning.batch_size import free_bytes, peak_bytes, reset_peak;"
        "cpu = torch.device('cpu');"
        "before = reset_peak(cpu); numbers = torch.ones(32, 2**20); del numbers;"  # 128 MiB
        "print(peak_bytes(cpu) - before, reset_peak(cpu) - before, free_bytes(cpu))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    peak, left, free = map(int, done.stdout.split())
    assert peak == pytest.approx(2**27, rel=0.2) and left < 2**26 and 2**27 < free < 2**44


# ------------------------------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["lr_find=true", "trainer.devices=2"], "lr_find=true tries with one process: set trainer.devices=1"),
        (
            ["batch_size_find=true", "trainer=auto", "trainer.devices=[0,1]"],
            "give the run on several data.batch_size=<what was found>",
        ),
        (["lr_find=true", "trainer.num_nodes=2"], "give the run on several optimizer.lr=<what was found>"),
        (["lr_find=perhaps"], "lr_find"),
    ],
)
def test_mistakes(command: Callable[..., Answer], settings: list[str], text: str) -> None:
    answer = command("train", "trainer=cpu", *settings)
    assert answer.status == 1 and text in answer.err and "Traceback" not in answer.err


def test_a_dry_run_tries_nothing(trained: Runner) -> None:
    run = trained("debug=fast_dev_run", "lr_find=true", "batch_size_find=true")
    assert not (run.directory / "report").exists()
