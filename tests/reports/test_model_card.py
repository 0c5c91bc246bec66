"""The model card: facts of the run, and names from the data that stay text."""

import re

import pytest
import yaml
from conftest import Run, resolved

from src.evaluation.intervals import wilson_interval
from src.reports.card_sections import CardFacts, plain
from src.reports.model_card import model_card
from src.tasks.classification.report import words


def test_every_training_writes_one(colors_run: Run) -> None:
    card = (colors_run.directory / "report" / "model_card.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["pipeline_tag"] == "image-classification" and front["class_names"] == ["blue", "green", "red"]
    assert "accuracy" in front["metrics"] and "squeezenet1_1" in front["tags"]
    assert "| blue | 14 | 3 | 3 |" in card and "42 train, 9 val, 9 test" in card
    low, high = wilson_interval(round(9 * colors_run.metrics["test/acc"]), 9)
    assert f"{colors_run.metrics['test/acc']:.4g} ({low:.4g} to {high:.4g})" in card
    assert "Few images: fewer than 30 in train of blue, green, red" in card and "One image of test is 11 points" in card
    assert "TO FILL IN" in card and "temperature of" in card
    assert str(colors_run.directory.parent) not in card and "/tmp" not in card


NASTY = [
    "<script>alert(1)</script>",
    "a|b",
    "*x*",
    "[l](http://e.com)",
    "`c`",
    'q"\n- pipeline_tag: x',
    "# h",
    "",
    "1. a",
]


def card_of(colors_run: Run, **changes) -> str:
    facts = {
        "words": words(NASTY),
        "config": resolved(colors_run.directory / "config.yaml"),
        "metrics": {"val/acc": 0.9, "val/loss": 0.2},
        "environment": {},
        "class_names": NASTY,
        "split_counts": {"train": 1000, "val": 100},
        "class_counts": {"train": [500, *[60] * 8], "val": [20, *[10] * 8]},
    }
    return model_card(CardFacts(**(facts | changes)))


def test_nasty_names_stay_text(colors_run: Run) -> None:
    card = card_of(colors_run)
    _, front, body = card.split("---\n", 2)
    assert (
        yaml.safe_load(front)["class_names"] == NASTY
        and yaml.safe_load(front)["pipeline_tag"] == "image-classification"
    )
    assert "<script" not in body and "\\*x\\*" in body and "a\\|b" in body and "\\[l\\]\\(http" in body
    rows = [line for line in body.splitlines() if line.startswith("| ") and re.search(r"\| \d+ \| \d+ \|$", line)]
    assert len(rows) == len(NASTY), rows
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)


def test_limits_follow_from_the_numbers(colors_run: Run) -> None:
    card = card_of(colors_run)
    assert "Not tested" in card and "Imbalanced: the largest class has 500" in card
    assert "One image of val is 1 points" in card and "Few images" not in card
    tested = card_of(
        colors_run, metrics={"test/acc": 0.5}, intervals={"test/acc": wilson_interval(5, 10)}, unreadable=3,
        split_counts={"train": 9, "test": 10},
    )  # fmt: skip
    assert "Not tested" not in tested and "wider than 10 points" in tested and "skipped: 3" in tested


def test_wilson_as_published() -> None:
    """Newcombe 1998, table I: 81 of 263, and 0 of 20."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_plain_is_not_blank() -> None:
    assert plain(" ") == "(blank)" and plain("ants") == "ants"
