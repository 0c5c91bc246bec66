"""Made-up folders of runs and sweeps, for src.compare."""

import csv
import json
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf


def make_run(
    folder: Path,
    seed: int,
    metrics: dict[str, Any],
    settings: dict[str, Any] | None = None,
    right: str = "",
    fingerprint: str = "f1",
) -> Path:
    """A run's folder; `right` has 1 for each val image that is answered right, 0 for the others."""
    config: dict[str, Any] = {
        "seed": seed,
        "output_dir": str(folder),
        "task": {"name": "classification", "monitor": "val/acc", "mode": "max", "targets": "classes"},
        "optimizer": {"lr": 0.001},
        "data": {"fold": 0, "folds": None},
        "callbacks": {"best": {"dirpath": f"{folder}/checkpoints"}},
    }
    for key, value in (settings or {}).items():
        OmegaConf.update(config := OmegaConf.create(config), key, value)
    (folder / "report").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "environment.json").write_text(json.dumps({"data_fingerprint": fingerprint, "git_commit": None}))
    if right:
        rows = "".join(f"{i}.png,ant,{'ant' if digit == '1' else 'bee'},0.9\n" for i, digit in enumerate(right))
        (folder / "report" / "val_predictions.csv").write_text(f"path,label,prediction,confidence\n{rows}")
    return folder


def make_sweep(folder: Path, scores: list[float], metric: str = "last/val/acc", **settings: Any) -> Path:
    """A sweep over seeds 0, 1, ... of runs whose metric is given."""
    changed = {key.replace("__", "."): value for key, value in settings.items()}
    rows = []
    for seed, score in enumerate(scores):
        make_run(folder / f"{seed}_x", seed, {metric: score, "val/acc": 0.99}, changed)
        rows.append({"job": f"{seed}_x", "status": "done", "seed": seed, **changed})
    write_table(folder, rows)
    return folder


def write_table(folder: Path, rows: list[dict[str, Any]]) -> None:
    with (folder / "sweep.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([*rows, {"job": f"{len(rows)} jobs", "status": "mean"}])
