"""The folder that is published: what others need of a run, without paths of this machine."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import torch
from omegaconf import OmegaConf

from src.files.plain_files import read_json
from src.publishing.checks import CARD
from src.runs.checkpoint import load_checkpoint
from src.runs.record import CHECKPOINT_KEY
from src.settings.trust import plain_config

PRIVATE = re.compile(r"^(/|~|\.\.([/\\]|$)|[A-Za-z]:[\\/]|\\\\|file:)")


def gather(run: Path, folder: Path, files: Sequence[Path]) -> None:
    """best.ckpt without what only resuming needs, README.md, config.yaml, metrics.json, and `files`.

    Paths of this machine are cut to their last part.
    """
    checkpoint, _ = load_checkpoint(run / "checkpoints" / "best.ckpt")
    record = without_paths(checkpoint[CHECKPOINT_KEY])
    settings = OmegaConf.to_yaml(plain_config(record["config"]))
    metrics = without_paths(read_json(run / "metrics.json"))
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": checkpoint["state_dict"], CHECKPOINT_KEY: record}, folder / "best.ckpt")
    (folder / "config.yaml").write_text(settings, encoding="utf-8")
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.copyfile(run / CARD, folder / "README.md")
    for file in files:
        shutil.copyfile(file, folder / file.name)


def without_paths(values: Any) -> Any:
    """Nested plain data in which a path that leads out of the project, or into somebody's home, is its last part."""
    if isinstance(values, dict):
        return {without_paths(key): without_paths(value) for key, value in values.items()}
    if isinstance(values, list):
        return [without_paths(value) for value in values]
    if isinstance(values, str) and (PRIVATE.match(values) or str(Path.home()) + "/" in values):
        return PurePath(values.replace("\\", "/")).name
    return values
