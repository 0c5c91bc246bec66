"""The settings that src.train would have for a candidate: from the same words, in the same way."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from src.choosing.candidates import Candidate
from src.cli.command_line import prepare
from src.cli.options import composed
from src.runs.opening import make_paths_absolute
from src.settings.check import check_settings
from src.settings.schema import TrainConfig, train_config
from src.settings.signatures import check_targets

SHARED = ("data", "task", "trainer")  # groups that both commands have
# What the features need, so that a run of the head alone finds them; and what nothing is written with.
OWN = ["augment=none", "callbacks=none", "logger=none"]


def words_of_train(typed: Sequence[str]) -> list[str]:
    """Of this command's words, those that src.train takes too."""
    return [text for text in typed if text.lstrip("+~").split("=")[0].split(".")[0].split("/")[0] in SHARED]


def settings_of(candidate: Candidate, words: Sequence[str], folder: Path) -> TrainConfig:
    """One process, everything trains. Raises ConfigError for what src.train would refuse."""
    prepared, _ = prepare([*words, *candidate.settings, *OWN], "train")
    if not any(text.lstrip("+").startswith("trainer.devices=") for text in words):
        prepared.append("trainer.devices=1")
    cfg = composed("train", prepared)
    cfg.output_dir = str(folder)
    check_settings(cfg, {})
    make_paths_absolute(cfg)
    settings = train_config(cfg)
    check_targets(asdict(settings))
    return settings
