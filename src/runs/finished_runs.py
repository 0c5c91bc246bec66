"""What finished runs left in their folders: settings, metrics, environment. Imports no torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from src.evaluation.metric_facts import facts_of
from src.files.csv_files import read_table
from src.files.plain_files import read_json, read_yaml
from src.runs.record_check import require_named_task
from src.settings.errors import ConfigError, did_you_mean


class Run(NamedTuple):
    """What a finished run left in its folder."""

    folder: Path
    settings: dict[str, Any]  # config.yaml with dotted keys
    metrics: dict[str, Any]
    environment: dict[str, Any]

    @property
    def seed_and_fold(self) -> tuple[int, int]:
        return self.settings["seed"], self.settings.get("data.fold") or 0


def runs_of(text: str) -> list[Run]:
    """The run, or the finished jobs of the sweep, at `FOLDER` or `FOLDER:key=value,...`. Raises ConfigError."""
    path, _, conditions = ("", "", "") if Path(text).exists() else text.rpartition(":")
    folder = Path(path if "=" in conditions else text).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"There is no folder '{folder}'.")
    rows: list[tuple[Path, dict[str, str]]] = [(folder, {})]
    if (folder / "sweep.csv").is_file():
        table = read_table(folder / "sweep.csv", ("job", "status"))
        rows = [(job_folder(folder, row["job"]), row) for row in table if row["status"] == "done"]
    # A sweep's table also knows choices of groups such as freeze=head_only, which config.yaml spells out.
    found = [(run := read_run(job), run.settings | row) for job, row in rows]
    if not found:
        raise ConfigError(f"'{folder}' has no finished job: sweep.csv lists none as done.")
    for condition in conditions.split(",") if "=" in conditions else []:
        key, _, value = condition.partition("=")
        there = list(dict.fromkeys(plain(settings[key]) for _, settings in found if key in settings))
        if not there:
            near = did_you_mean(key, [name for _, settings in found for name in settings])
            raise ConfigError(f"'{key}' in '{text}' is no setting of these runs.{near}")
        found = [(run, settings) for run, settings in found if key in settings and same(plain(settings[key]), value)]
        if not found:
            raise ConfigError(f"No run in '{folder}' has {condition}. There are: {', '.join(there)}.")
    return [run for run, _ in found]


def job_folder(folder: Path, name: str) -> Path:
    """The folder of a sweep's job. Raises ConfigError for a name that leads elsewhere."""
    if name in ("", ".", "..") or {"/", "\\", "\0", ":"} & set(name):
        raise ConfigError(f"'{folder}/sweep.csv' has the job {name[:80]!r}, which is no folder beside it.")
    return folder / name


def read_run(folder: Path) -> Run:
    """Raises ConfigError, which names the file and what is wrong in it."""
    for name in ("metrics.json", "config.yaml", "environment.json"):
        if not (folder / name).is_file():
            raise ConfigError(
                f"'{folder}' has no {name}: expected the folder of a finished run, or of a sweep (with sweep.csv)."
            )
    config = read_yaml(folder / "config.yaml")
    require_named_task({"config": config}, folder / "config.yaml")
    settings = dict(dotted(config))
    check_kinds(folder / "config.yaml", settings, SETTINGS)
    metrics = read_json(folder / "metrics.json")
    check_kinds(folder / "metrics.json", metrics, dict.fromkeys(metrics, (int, float, type(None))))
    environment = read_json(folder / "environment.json")
    check_kinds(folder / "environment.json", environment, ENVIRONMENT)
    return Run(folder, settings, metrics, environment)


# What is relied on, and its kinds; None among them = it may also be missing.
SETTINGS: dict[str, tuple[type, ...]] = {
    "seed": (int,), "data.fold": (int, type(None)), "task.name": (str,), "task.monitor": (str,),
    "task.mode": (str,), "task.targets": (str,), "output_dir": (str, type(None)), "data.root": (str, type(None)),
    "data.file": (str, type(None)),
}  # fmt: skip
ENVIRONMENT: dict[str, tuple[type, ...]] = {
    "data_fingerprint": (str,), "git_commit": (str, type(None)), "versions": (dict, type(None)),
}  # fmt: skip


def check_kinds(file: Path, values: dict[str, Any], kinds: dict[str, tuple[type, ...]]) -> None:
    """Raise ConfigError, which names the entry, if a value is of another kind."""
    for key, allowed in kinds.items():
        value = values.get(key)
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            names = " or ".join(KIND_NAMES[kind] for kind in allowed)
            there = f"is {str(value)[:60]!r}" if key in values else "is missing"
            raise ConfigError(f"'{file}': {key} {there}, and must be {names}.")


KIND_NAMES: dict[type, str] = {
    int: "a whole number", float: "a number", str: "a text", dict: "a mapping", type(None): "null",
}  # fmt: skip


def dotted(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """`("freeze.phases.0.train", "head")` and so on; lists of plain values stay whole."""
    prefix = f"{key}." if key else ""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from dotted(inner, f"{prefix}{name}")
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for i, inner in enumerate(value):
            yield from dotted(inner, f"{prefix}{i}")
    else:
        yield key, value


def plain(value: Any) -> str:
    """As yaml and the command line spell it; 1.0 like 1."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def same(one: str, other: str) -> bool:
    """Whether two spellings mean the same: 1e-3 and 0.001."""
    try:
        return float(one) == float(other)
    except ValueError:
        return one == other


NOT_COMPARED = ("name", "output_dir", "resume", "seed", "data.fold")


def facts(run: Run) -> dict[str, str]:
    texts = {key: plain(value) for key, value in run.settings.items() if key not in NOT_COMPARED}
    own_folder = f"{run.settings.get('output_dir')}/"  # in the settings of callbacks and loggers
    texts = {key: "in the run" if f"{text}/".startswith(own_folder) else text for key, text in texts.items()}
    if commit := run.environment.get("git_commit"):
        texts["git commit"] = commit[:8] + (" with changes" if run.environment.get("git_dirty") else "")
    return texts | {f"version of {name}": plain(text) for name, text in (run.environment.get("versions") or {}).items()}


def direction(metric: str, run: Run) -> int:
    """1 if higher is better, -1 if lower is better, 0 for what is neither good nor bad, or not known."""
    monitored = metric.removeprefix("last/") == run.settings["task.monitor"]
    better = run.settings["task.mode"] if monitored else facts_of(metric).better
    return {"max": 1, "min": -1}.get(better, 0)
