"""The best trial as settings that `experiment=` takes, and what it is worth on test."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from src.cli.own_experiment import read_experiment
from src.cli.quoting import is_group
from src.cli.sweep_job import LOG_LINE
from src.files.printable import shell_word
from src.files.whole_files import replaced
from src.sweeps.search.space import Space
from src.sweeps.search.study import Tried

OF_THE_SEARCH = ("sweep", "resume", "output_dir", "test", "name")
BEST_FILE, TEST_FOLDER = "best.yaml", "best_on_test"


@dataclass
class Recipe:
    """`groups`: their options; `values`: nested; `typed`: what yaml cannot say, such as what is taken away."""

    groups: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    typed: list[str] = field(default_factory=list)

    def text(self, comments: Iterable[str]) -> str:
        """As a file of conf/experiment."""
        defaults = [{f"override /{group}": option} for group, option in self.groups.items()]
        content = ({"defaults": defaults} if defaults else {}) | self.values
        body = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
        return "\n".join(["# @package _global_", *(f"# {line}" for line in comments), body])


def recipe_of(space: Space, values: dict[str, str]) -> Recipe:
    """Of a trial: what all trials have in common, and its own values; with the experiment that they build on."""
    recipe, parser = Recipe(), OverridesParser.create()
    for text in space.overrides(values):
        override = parser.parse_override(text)
        key, value = override.key_or_group, override.value()
        if key in OF_THE_SEARCH:
            continue
        if key == "experiment":
            below = read_experiment(str(value))
            for item in below.pop("defaults", []):
                recipe.groups |= {name.removeprefix("override /"): option for name, option in item.items()}
            recipe.values = merged(below, recipe.values)
        elif override.is_delete() or override.package is not None or any(part.isdigit() for part in key.split(".")):
            recipe.typed.append(text)
        elif is_group(key):
            recipe.groups[key] = value if isinstance(value, list) else str(value)
        else:
            recipe.values = merged(recipe.values, nested(key, plain_value(override)))
    return recipe


def plain_value(override: Override) -> Any:
    """As it would stand in a yaml file."""
    node = OmegaConf.create({"value": override.value()})
    return OmegaConf.to_container(node, resolve=False)["value"]  # type: ignore[call-overload, index]


def nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Nested mappings, of which the second one wins."""
    inner = {
        key: merged(value, above[key])
        for key, value in below.items()
        if isinstance(value, dict) and isinstance(above.get(key), dict)
    }
    return below | above | inner


def write_best(folder: Path, space: Space, best: Tried, comments: list[str]) -> str:
    """best.yaml in the folder of the search; returns the command that trains by it, to be typed as it is."""
    recipe, file = recipe_of(space, best.values), folder / BEST_FILE
    command = " ".join(["python -m src.train", *map(shell_word, [f"experiment={file}", *recipe.typed])])
    with replaced(file) as part:
        part.write_text(recipe.text([*comments, f"  {command}"]), encoding="utf-8")
    return command


@dataclass(frozen=True)
class OnTest:
    """Of the best trial, of the mean over its folds: metrics by name, 95 % intervals where there is one run alone."""

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    problem: str = ""


def measured_on_test(folder: Path, run_dirs: list[Path], accelerator: str, trust: bool) -> OnTest:
    """By src.evaluate, a process for each run; `problem` says why there is nothing, if there is not."""
    results, intervals = [], dict[str, tuple[float, float]]()
    for run_dir in run_dirs:
        place = folder / TEST_FOLDER / (run_dir.name if len(run_dirs) > 1 else "")
        output = place / "metrics.json"
        place.mkdir(parents=True, exist_ok=True)
        typed = [
            sys.executable, "-m", "src.evaluate", f"ckpt={run_dir}", "split=test", f"output={output}",
            f"report={place}", f"accelerator={accelerator}", f"trust={str(trust).lower()}", "overwrite=true",
        ]  # fmt: skip
        environ = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
        done = subprocess.run(typed, capture_output=True, text=True, errors="backslashreplace", env=environ)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip() and not LOG_LINE.match(line)]
            return OnTest({}, {}, lines[-1] if lines else f"exit status {done.returncode}")
        results.append(json.loads(output.read_text(encoding="utf-8")))
        with suppress(OSError, ValueError):
            intervals = json.loads((place / "intervals.json").read_text(encoding="utf-8"))
    means = {name: sum(one[name] for one in results) / len(results) for name in results[0]}
    return OnTest(means, {} if len(results) > 1 else {key: (low, high) for key, (low, high) in intervals.items()})
