"""report/model_card.md: what the model is, what it was trained on, how good it is and where it ends.

Made of plain data, without torch. The front matter is what model hubs read (Mitchell et al. 2019, arXiv 1810.03993, for
the sections). What only a person can know stands there as `TO FILL IN`.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from src.evaluation.analysis import wilson_interval

if TYPE_CHECKING:
    from src.data.table import ImageTable

TO_FILL_IN = "**TO FILL IN**"
SHOWN_CLASSES = 50
FEW_IMAGES = 30  # of a class in train
NO_PIPELINE = {"numbers": "image-feature-extraction"}  # hubs have no task that reads numbers from images
LOWER_IS_BETTER = ("loss", "ece", "brier", "mae", "rmse")

Numbers = Mapping[str, Any]


def model_card(
    config: Mapping[str, Any],
    metrics: Numbers,
    environment: Mapping[str, Any],
    class_names: list[str],
    split_counts: Mapping[str, int],
    class_counts: Mapping[str, list[int]],
    unreadable: int = 0,
    calibration: Numbers | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> str:
    """The card as Markdown with YAML front matter.

    Args:
        config: the resolved settings.
        metrics: as in metrics.json.
        environment: as in environment.json.
        class_names: K classes or targets, as the data name them.
        split_counts: images by split, damaged ones included.
        class_counts: images of each class [K] by split; empty where labels are numbers.
        unreadable: damaged images that were skipped.
        calibration: temperature and ood_score_p99 of the checkpoint, if it has them.
        intervals: 95 % intervals by metric name; accuracies without one get Wilson's.
    """
    found = {**accuracy_intervals(metrics, split_counts), **(intervals or {})}
    tested = any(key.startswith("test/") for key in metrics)
    kind, name = config["task"]["targets"], config["backbone"]["name"]
    sections = [
        front_matter(name, kind, class_names, metrics),
        f"# {plain(config.get('name') or name)}",
        "\n".join(what_it_is(config, class_names)),
        f"## Intended use\n\n- Made for: {TO_FILL_IN}\n- Not to be used for: {TO_FILL_IN}\n- Made by: {TO_FILL_IN}",
        "## Data\n\n" + "\n".join(about_data(config, class_names, split_counts, class_counts, unreadable)),
        "## Training\n\n" + "\n".join(recipe(config, metrics)),
        "## Metrics\n\n" + "\n".join(metric_table(metrics, found)),
        "## Calibration\n\n" + "\n".join(about_calibration(metrics, calibration or {})),
        "## Limits\n\n"
        + "\n".join(limits(config, class_names, split_counts, class_counts, found, calibration or {}, tested)),
        "## How to use\n\n" + HOW_TO_USE,
        "## Environment\n\n" + "\n".join(about_environment(environment)),
        f"## Licence\n\n- Of this model: {TO_FILL_IN}\n- Of the training images: {TO_FILL_IN}\n- Of the pretrained "
        f"weights: {TO_FILL_IN} (torchvision's weights were trained on ImageNet, which has terms of its own)",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def write_model_card(
    run_dir: Path,
    config: Mapping[str, Any],
    metrics: Numbers,
    table: "ImageTable",
    calibration: Numbers | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """`report/model_card.md` of a run that has written its environment.json."""
    environment = run_dir / "environment.json"
    damaged = run_dir / "unreadable.csv"
    card = model_card(
        config,
        metrics,
        json.loads(environment.read_text(encoding="utf-8")) if environment.is_file() else {},
        table.class_names,
        {split: len(rows) for split, rows in table.splits.items()},
        {}
        if table.label_kind == "numbers"
        else {split: table.class_counts(rows).tolist() for split, rows in table.splits.items()},
        unreadable=len(damaged.read_text(encoding="utf-8").splitlines()) - 1 if damaged.is_file() else 0,
        calibration=calibration,
        intervals=intervals,
    )
    (run_dir / "report").mkdir(exist_ok=True)
    (run_dir / "report" / "model_card.md").write_text(card, encoding="utf-8")


HOW_TO_USE = """In a checkout of the project that trained it:

```
python -m src.predict  ckpt=best.ckpt images=<folder>
python -m src.explain  ckpt=best.ckpt images=<folder>
python -m src.evaluate ckpt=best.ckpt data=folder data.root=<folder>
```

Resizing, cropping and normalisation are in the checkpoint."""


# ------------------------------------------------------------------------------------------------------------ escaping


def plain(value: Any) -> str:
    """Text of the data as Markdown that shows it and nothing else: no markup, table cell, link or HTML comes of it."""
    text = "".join(c if c.isprintable() else " " for c in str(value)).encode("utf-8", "replace").decode()
    text = re.sub(r"([\\`*_{}\[\]()#+!|~$^=:-])", r"\\\1", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"(?<=\d)\.", r"\\.", text).replace("@", "&#64;").strip() or "(blank)"


def yaml_text(value: Any) -> str:
    """A quoted YAML scalar: JSON's strings are YAML's."""
    return json.dumps(str(value).encode("utf-8", "replace").decode(), ensure_ascii=True)


def last_part(path: Any) -> str:
    """Of a path the name alone: the folders above say whose machine it was."""
    return PurePath(str(path).replace("\\", "/")).name or str(path)


def number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) and math.isfinite(value) else "not measured"


# ------------------------------------------------------------------------------------------------------------ sections


def front_matter(name: str, kind: str, class_names: list[str], metrics: Numbers) -> str:
    tags = ["torchvision", "pytorch", "lightning", "image-classification" if kind != "numbers" else "regression", name]
    wanted = {"acc": "accuracy", "f1": "f1", "mae": "mae", "map": "mean_average_precision"}
    measured = [hub for ours, hub in wanted.items() if f"val/{ours}" in metrics]
    lines = ["---", f"pipeline_tag: {NO_PIPELINE.get(kind, 'image-classification')}", "library_name: pytorch"]
    lines += ["tags:", *(f"- {yaml_text(tag)}" for tag in tags)]
    if measured:
        lines += ["metrics:", *(f"- {metric}" for metric in measured)]
    lines += ["class_names:", *(f"- {yaml_text(class_name)}" for class_name in class_names)]
    return "\n".join([*lines, "---"])


def what_it_is(config: Mapping[str, Any], class_names: list[str]) -> Iterator[str]:
    does = {
        "classes": f"says which of {len(class_names)} classes per image shows",
        "tags": f"says which of {len(class_names)} classes, any number of them, an image shows",
        "numbers": f"reads {len(class_names)} number{'s' if len(class_names) > 1 else ''} from an image",
    }[config["task"]["targets"]]
    yield f"A torchvision `{config['backbone']['name']}`, fine-tuned, that {does}. {origin(config)}"
    yield ""
    shown = ", ".join(plain(name) for name in class_names[:SHOWN_CLASSES])
    more = f" and {len(class_names) - SHOWN_CLASSES} more" if len(class_names) > SHOWN_CLASSES else ""
    yield f"{'Targets' if config['task']['targets'] == 'numbers' else 'Classes'}: {shown}{more}."


def origin(config: Mapping[str, Any]) -> str:
    weights = config["backbone"]["weights"]
    if weights is None:
        return "It was trained from random weights."
    return f"It started from the pretrained weights {plain(last_part(weights))}."


def about_data(
    config: Mapping[str, Any],
    class_names: list[str],
    split_counts: Mapping[str, int],
    class_counts: Mapping[str, list[int]],
    unreadable: int,
) -> Iterator[str]:
    data = config["data"]
    source = next((data[key] for key in ("file", "root", "name") if data.get(key)), None)
    named = last_part(data.get("_target_", "")).rpartition(".")[2] if source is None else last_part(source)
    yield f"- Source: {plain(named)}"
    yield f"- How the images were collected, and what they do not show: {TO_FILL_IN}"
    yield "- Images: " + ", ".join(f"{count:,} {split}" for split, count in split_counts.items())
    if unreadable:
        yield f"- Damaged images, skipped: {unreadable:,}"
    if not class_counts:
        return
    splits = list(class_counts)
    yield f"\n| class | {' | '.join(splits)} |\n|---|{'---|' * len(splits)}"
    for k, name in enumerate(class_names[:SHOWN_CLASSES]):
        yield f"| {plain(name)} | {' | '.join(f'{class_counts[split][k]:,}' for split in splits)} |"
    if len(class_names) > SHOWN_CLASSES:
        yield f"\n{len(class_names) - SHOWN_CLASSES} more classes are not shown."


def recipe(config: Mapping[str, Any], metrics: Numbers) -> Iterator[str]:
    phases = " > ".join(str(phase["train"]) for phase in config["freeze"]["phases"])
    yield f"- Trained: {plain(phases)} (phases, what trains in each), {metrics.get('epochs', '?')} epochs, "
    yield f"  batches of {config['data'].get('batch_size', '?')}, seed {config['seed']}"
    for part in ("loss", "optimizer", "scheduler"):
        settings = [f"{key} {value}" for key, value in config[part].items() if not key.startswith("_")]
        yield f"- {part.title()}: {plain(last_part(config[part]['_target_']).rpartition('.')[2])}" + (
            f" ({plain(', '.join(settings))})" if settings else ""
        )
    drawn = [f"{key} {value}" for key, value in config["augment"].items() if value]
    yield f"- Augmentation: {plain(', '.join(drawn)) if drawn else 'none'}"
    yield f"- Chosen on val by {plain(config['task']['monitor'])}; training took {number(metrics.get('fit_seconds'))} s"


def metric_table(metrics: Numbers, intervals: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    splits = [split for split in ("val", "test") if any(key.startswith(f"{split}/") for key in metrics)]
    names = dict.fromkeys(key.partition("/")[2] for key in metrics if key.partition("/")[0] in splits)
    if not names:
        yield "Nothing was measured."
        return
    yield f"| metric | {' | '.join(splits)} |\n|---|{'---|' * len(splits)}"
    for name in names:
        cells = []
        for split in splits:
            between = intervals.get(f"{split}/{name}")
            span = f" ({number(between[0])} to {number(between[1])})" if between else ""
            cells.append(number(metrics.get(f"{split}/{name}")) + span)
        direction = "lower" if name.split("/")[0].removesuffix("_uncalibrated") in LOWER_IS_BETTER else "higher"
        yield f"| {plain(name)} ({direction} is better) | {' | '.join(cells)} |"
    if intervals:
        yield "\nIn brackets: 95 % intervals, for other images of the same kind. The best epoch was chosen on val,"
        yield "so val's numbers flatter."


def about_calibration(metrics: Numbers, calibration: Numbers) -> Iterator[str]:
    temperature = calibration.get("temperature", metrics.get("temperature"))
    if temperature is None:
        yield "The model gives no probabilities that were calibrated."
        return
    yield f"Logits are divided by a temperature of {number(temperature)}, fitted on val. Expected calibration error:"
    for split in ("val", "test"):
        if f"{split}/ece" in metrics:
            before, after = metrics.get(f"{split}/ece_uncalibrated"), metrics[f"{split}/ece"]
            yield f"- {split}: {number(before)} before, {number(after)} after"


def limits(
    config: Mapping[str, Any],
    class_names: list[str],
    split_counts: Mapping[str, int],
    class_counts: Mapping[str, list[int]],
    intervals: Mapping[str, tuple[float, float]],
    calibration: Numbers,
    tested: bool,
) -> Iterator[str]:
    """What the numbers themselves say against the model."""
    train = class_counts.get("train", [])
    rare = [name for name, count in zip(class_names, train, strict=False) if count < FEW_IMAGES]
    if rare:
        shown = ", ".join(plain(name) for name in rare[:10]) + (f" and {len(rare) - 10} more" if len(rare) > 10 else "")
        yield f"- Few images: fewer than {FEW_IMAGES} in train of {shown}."
    if train and max(train) > 5 * max(min(train), 1):
        yield (
            f"- Imbalanced: the largest class has {max(train):,} training images, the smallest {min(train):,}. "
            "Accuracy hides what happens to the small ones; look at balanced accuracy and at the classes."
        )
    for split in ("val", "test"):
        if (count := split_counts.get(split, 0)) and config["task"]["targets"] == "classes":
            yield f"- One image of {split} is {100 / count:.2g} points of accuracy: smaller differences mean nothing."
    wide = [key for key, (low, high) in intervals.items() if key.endswith("/acc") and high - low > 0.1]
    if wide:
        yield f"- The intervals of {', '.join(wide)} are wider than 10 points: there are too few images to tell."
    if not tested:
        yield "- Not tested: no test images were held back and measured, and val chose the weights."
    yield (
        "- Images unlike those of the training get an answer too, often a sure one."
        + (
            f" src.predict's ood_score helps to see them: 1 % of val was above {number(calibration['ood_score_p99'])}."
            if "ood_score_p99" in calibration
            else ""
        )
    )
    yield f"- Other limits, such as groups of people, places or cameras that the images do not show: {TO_FILL_IN}"


def about_environment(environment: Mapping[str, Any]) -> Iterator[str]:
    versions = environment.get("versions", {})
    listed = ", ".join(f"{plain(name)} {plain(version)}" for name, version in versions.items())
    yield f"- Python {plain(environment.get('python', 'unknown'))}, {listed}"
    yield f"- Hardware: {plain(', '.join(environment.get('gpus') or []) or 'CPU')}"
    dirty = ", with changes that were not committed" if environment.get("git_dirty") else ""
    yield f"- Commit {plain(environment.get('git_commit') or 'unknown')}{dirty}"
    yield f"- Fingerprint of the data: {plain(environment.get('data_fingerprint', 'unknown'))}"


# ----------------------------------------------------------------------------------------------------------- intervals


def accuracy_intervals(metrics: Numbers, split_counts: Mapping[str, int]) -> dict[str, tuple[float, float]]:
    """Wilson's interval for each split's accuracy."""
    keys = [(f"{split}/acc", count) for split, count in split_counts.items() if count]
    return {
        key: wilson_interval(round(metrics[key] * count), count)
        for key, count in keys
        if isinstance(metrics.get(key), int | float)
    }
