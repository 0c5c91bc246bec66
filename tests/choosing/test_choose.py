"""src.choose as a command: what it ranks, what it leaves out and why, what it keeps, and what it refuses."""

import csv
import json
import re
import shlex
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Answer, run_train
from support.slow import one_in, slow

from src.choosing.budget import Budget, DoesNotFit, WithinBudget
from src.choosing.probes import ClassProbe
from src.choosing.ranking import Result, ranked
from src.choosing.words import commands, verdict

TINY = ("data=folder", "data.image_size_px=32", "data.batch_size=8", "data.folds=3", "data.num_workers=0")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """No network, and none of torchvision's weights; the addresses that were asked for."""
    asked: list[str] = []

    def refuse(request: Any, *_: object, **__: object) -> None:
        asked.append(getattr(request, "full_url", request))
        raise OSError("Network is unreachable")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    return asked


Choose = Callable[..., Answer]


@pytest.fixture
def choose(command: Callable[..., Answer], tmp_path: Path, colors: Path) -> Choose:
    places = (f"data.root={colors}", f"data.cache_dir={tmp_path}/cache", f"output={tmp_path}/choose")
    return lambda *arguments: command("choose", *TINY, *places, *arguments)


def table_in(folder: Path) -> list[dict[str, str]]:
    with (folder / "choose.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_networks_are_ranked(choose: Choose, offline: list[str], tmp_path: Path) -> None:
    answer = choose("backbones=[squeezenet1_1@null,resnet18,squeezenet1_1]")
    assert answer.status == 0, answer.err
    first, second, left_out = table_in(tmp_path / "choose")
    assert [row["status"] for row in (first, second, left_out)] == ["ranked", "ranked", "left out"]
    assert float(first["score"]) >= float(second["score"]) > 0.5  # three colours that are easily told apart
    assert float(first["low"]) <= float(first["score"]) <= float(first["high"])
    assert float(second["difference"]) == pytest.approx(float(second["score"]) - float(first["score"]))
    assert all(float(first[f"images_per_s_{what}"]) > 0 for what in ("inference", "training"))
    assert "resnet18-" in left_out["note"] and str(tmp_path / "hub") in left_out["note"]
    found = json.loads((tmp_path / "choose" / "choose.json").read_text())
    assert found["ranked_by"] == "acc" and found["images"] == 51  # of 60; the rest is test
    page = (tmp_path / "choose" / "choose.html").read_text()
    assert "squeezenet1_1@null" in page and found["commands"][1] in page and "<img" in page


@pytest.mark.slow
def test_what_was_found_is_kept_and_a_run_of_the_head_alone_finds_the_features(
    choose: Choose, offline: list[str], tmp_path: Path
) -> None:
    wanted = "backbones=[squeezenet1_1@null,resnet18,squeezenet1_1,resnet34]"
    assert choose(wanted, "data.cache=images").status == 0
    assert len(offline) == 1, "where there is no network, the second one is not even asked for"
    rows, entries = table_in(tmp_path / "choose"), sorted((tmp_path / "cache").iterdir())
    kinds = [entry.name.split("_")[0] for entry in entries]
    assert kinds == ["features"] * 4 + ["images"] * 2  # train and val; both networks see the same pixels
    again = choose(wanted)
    assert again.status == 0 and again.err.count("as it was found before") == 2
    assert table_in(tmp_path / "choose") == rows
    command = json.loads((tmp_path / "choose" / "choose.json").read_text())["commands"][1]
    run = run_train(tmp_path / "run", "data.cache=auto", *shlex.split(command)[3:], "trainer.max_epochs=1")
    assert sorted((tmp_path / "cache").iterdir()) == entries
    assert "Kept what the frozen network makes" not in run.log


@pytest.mark.parametrize(
    ("arguments", "said"),
    one_in(
        3,
        [
            (["backbones=[resnet5]"], r"'resnet5' is no classifier of torchvision\. Did you mean 'resnet50'\?"),
            (["backbones=[]"], r"backbones=\[\] names no network: .* Presets: small \(squeezenet1_1"),
            (["backbones=[squeezenet1_1@]"], "ends where the weights should be"),
            (["backbones=[fcos_resnet50_fpn]"], "no classifier whose features count"),
            (["preset=huge"], "preset='huge' is not there"),
            (["backbones=resnet18,nothing.pth"], "'nothing.pth' is no classifier"),  # a list without brackets
            (["head.dropout=0.2"], r"head\.<setting> is of no use here"),
            (["budget_minutes=0"], "budget_minutes=0 is out of range"),
            (["backbones=[a,"], r"backbones: \[a, is no name of a network"),
            (["backbones=[timm/lcnet_053]"], r"'timm/lcnet_053' is no network of the installed timm\. Did you mean"),
            (["backbones=3"], "backbones: 3 is no name of a network: give one, or several as"),
            (["backbones=[[resnet18]]"], r"backbones: \['resnet18'\] is no name of a network"),
            (["backbones={a: 1}"], r"backbones: \{'a': 1\} is no name of a network"),
        ],
    ),
)
def test_mistakes_are_told_before_torch_is_asked(choose: Choose, arguments: list[str], said: str) -> None:
    answer = choose(*arguments)
    assert answer.status == 1
    assert re.search(said, answer.err), answer.err


def test_boxes_and_pixels_are_not_ranked(command: Callable[..., Answer]) -> None:
    answer = command("choose", "task=detection")
    assert answer.status == 1
    assert "src.choose ranks networks for one class or several classes or numbers per image, and not for boxes" in (
        answer.err
    )


def test_weights_that_are_nowhere_are_told_at_once(choose: Choose, tmp_path: Path) -> None:
    answer = choose(f"backbones=[squeezenet1_1@{tmp_path}/no file.pth,squeezenet1_1]")
    assert answer.status == 1
    assert f"backbones: 'squeezenet1_1@{tmp_path}/no file.pth'" in answer.err and "does not exist" in answer.err


def result(name: str, right_N: Any, labels_N: Any, rate: float | None = 10.0) -> Result:
    predicted_N = np.where(right_N, labels_N, 1 - labels_N)
    kept = {"predicted": predicted_N, "loss": np.zeros(len(labels_N))}
    facts = {"images_per_s_training": rate, "backbone": name, "weights": None, "note": ""}
    return Result(name, np.arange(len(labels_N)), kept, facts)


def test_ties_are_said_to_be_ties() -> None:
    generator, labels_N = np.random.default_rng(0), np.arange(200) % 2
    hard_N = generator.random(200)  # the same images are hard for all of them
    results = [
        result("worse", hard_N > 0.3, labels_N),
        result("good", hard_N > 0.11, labels_N, rate=30.0),
        result("resnet50", hard_N > 0.1, labels_N),
    ]
    ranking = ranked(results, ClassProbe, "acc", True, labels_N, None)
    assert [place.result.name for place in ranking.places] == ["resnet50", "good", "worse"]
    assert [place.tied for place in ranking.places] == [True, True, False]
    low, high = ranking.places[2].difference_interval
    assert low < ranking.places[2].difference < high < 0
    said = " ".join(verdict(ranking))
    assert "resnet50 comes first, but cannot be told apart from good: on 200 images" in said
    assert "good trains 3.0 times as fast" in said
    assert (
        commands(ranking, ["data.root=a b", "data.cache=images"])[0]
        == "python -m src.train 'data.root=a b' backbone=resnet50"
    )
    of_group_N = np.arange(200) // 100  # two patients: nothing can be said about a third
    apart = ranked(results, ClassProbe, "acc", True, labels_N, of_group_N)
    assert np.ptp(apart.first.interval) != pytest.approx(np.ptp(ranking.first.interval))


def test_lower_errors_come_first_and_images_that_one_could_not_read_count_for_none() -> None:
    labels_N = np.zeros(50, dtype=np.int64)
    one, other = (result(name, labels_N == 0, labels_N) for name in ("one", "other"))
    one = Result("one", one.rows_N[:40], {**one.kept, "loss": np.full(40, 2.0)} | {"predicted": labels_N[:40]}, {})
    ranking = ranked([one, other], ClassProbe, "loss", False, labels_N, None)
    assert [place.result.name for place in ranking.places] == ["other", "one"] and ranking.images == 40


class Slow:
    """A frozen network that takes a while for each batch."""

    def frozen_fingerprint(self) -> str:
        return ""

    def frozen_features(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        time.sleep(0.02)
        return images_BCHW


def test_a_pass_that_does_not_fit_ends_early() -> None:
    batch, budget = torch.zeros(4, 1), Budget(minutes=0.01)  # 0.6 s
    fits = WithinBudget(Slow(), 40, budget)
    for _ in range(10):
        fits.frozen_features(batch)
    too_long = WithinBudget(Slow(), 4000, budget)  # 20 s
    too_long.frozen_features(batch)
    with pytest.raises(DoesNotFit) as error:
        too_long.frozen_features(batch)
    assert error.value.seconds is not None and error.value.seconds > 10


@pytest.mark.slow
def test_a_budget_leaves_candidates_for_the_next_call(choose: Choose, tmp_path: Path) -> None:
    wanted = "backbones=[squeezenet1_1,squeezenet1_1@null]"
    answer = choose(wanted, "budget_minutes=0.0000001")
    assert answer.status == 1 and "no time was left" in answer.err
    assert choose("backbones=[squeezenet1_1]").status == 0
    answer = choose(wanted, "budget_minutes=0.0000001")
    assert answer.status == 0, answer.err
    assert [row["status"] for row in table_in(tmp_path / "choose")] == ["ranked", "not tried"]
    assert [row["status"] for row in (choose(wanted), table_in(tmp_path / "choose"))[1]] == ["ranked", "ranked"]


@pytest.mark.slow
def test_weights_that_do_not_fit_and_runs_on_the_same_images(choose: Choose, tmp_path: Path, colors: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    run_train(tmp_path / "run", *TINY, f"data.root={colors}", "trainer.max_epochs=1")
    answer = choose(f"backbones=[squeezenet1_1@{tmp_path}/other.pth,squeezenet1_1@{tmp_path}/run]")
    assert answer.status == 0, answer.err
    rows = table_in(tmp_path / "choose")
    assert [row["status"] for row in rows] == ["ranked", "left out"]
    assert "does not fit the network" in rows[1]["note"]
    assert "come from a run on these very images" in rows[0]["note"] and "too good" in answer.out


@pytest.mark.parametrize(
    ("task", "column", "metric"),
    [slow("multilabel", "label", "map"), slow("regression", "brightness", "mae")],
)
def test_several_classes_and_numbers(
    command: Callable[..., Answer], tmp_path: Path, colors: Path, task: str, column: str, metric: str
) -> None:
    lines = ["path,label,brightness"]
    for number, path in enumerate(sorted(colors.rglob("*.*"))):
        color = path.parent.name
        lines.append(f"{path},{color}{';even' if number % 2 else ''},{len(color) + number % 2}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    answer = command(
        "choose", f"task={task}", "data=csv", f"data.file={tmp_path}/table.csv", f"data.label_columns=[{column}]",
        "data.root=/", *TINY[1:], f"data.cache_dir={tmp_path}/cache", f"output={tmp_path}/choose",
        "backbones=[squeezenet1_1,squeezenet1_1@null]",
    )  # fmt: skip
    assert answer.status == 0, answer.err
    first, second = table_in(tmp_path / "choose")
    assert first["metric"] == metric
    better = float(first["score"]) - float(second["score"])
    assert better <= 0 if metric == "mae" else better >= 0
