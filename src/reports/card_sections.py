"""What a model card says about its model, and against it: plain data, and text that stays text in Markdown."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from src.evaluation.intervals import Interval
from src.evaluation.metric_facts import facts_of
from src.reports.run_report import TaskWords

TO_FILL_IN = "**TO FILL IN**"  # what only a person can know
SHOWN_CLASSES = 50
FEW_IMAGES = 30  # of a class in train


@dataclass(frozen=True)
class CardFacts:
    """`config`: the resolved settings. `metrics`, `environment`: as in metrics.json and environment.json.

    `class_names`: what the K outputs stand for, as the data name them. `split_counts`: images by split, damaged ones
    included. `class_counts`: images of each class [K] by split; empty where there are no classes. `unreadable`: damaged
    images that were skipped. `calibration`: what the checkpoint carries, if anything. `intervals`: 95 %, by metric.
    """

    words: TaskWords
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    environment: Mapping[str, Any]
    class_names: list[str]
    split_counts: Mapping[str, int]
    class_counts: Mapping[str, list[int]]
    unreadable: int = 0
    calibration: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)


def what_it_is(card: CardFacts) -> Iterator[str]:
    name, weights = card.config["backbone"]["name"], card.config["backbone"]["weights"]
    began = "was trained from random" if weights is None else "started from the pretrained"
    origin = f"It {began} weights{'' if weights is None else f' {plain(last_part(weights))}'}."
    yield f"A torchvision `{name}`, fine-tuned, that {card.words.does}. {origin}"
    yield ""
    shown = ", ".join(plain(name) for name in card.class_names[:SHOWN_CLASSES])
    more = f" and {len(card.class_names) - SHOWN_CLASSES} more" if len(card.class_names) > SHOWN_CLASSES else ""
    yield f"{card.words.outputs.title()}: {shown}{more}."


def about_data(card: CardFacts) -> Iterator[str]:
    data = card.config["data"]
    source = next((data[key] for key in ("file", "root", "name") if data.get(key)), None)
    named = last_part(data.get("_target_", "")).rpartition(".")[2] if source is None else last_part(source)
    yield f"- Source: {plain(named)}"
    yield f"- How the images were collected, and what they do not show: {TO_FILL_IN}"
    yield "- Images: " + ", ".join(f"{count:,} {split}" for split, count in card.split_counts.items())
    if card.unreadable:
        yield f"- Damaged images, skipped: {card.unreadable:,}"
    if not card.class_counts:
        return
    splits = list(card.class_counts)
    yield f"\n| class | {' | '.join(splits)} |\n|---|{'---|' * len(splits)}"
    for k, name in enumerate(card.class_names[:SHOWN_CLASSES]):
        yield f"| {plain(name)} | {' | '.join(f'{card.class_counts[split][k]:,}' for split in splits)} |"
    if len(card.class_names) > SHOWN_CLASSES:
        yield f"\n{len(card.class_names) - SHOWN_CLASSES} more classes are not shown."


def recipe(card: CardFacts) -> Iterator[str]:
    config, metrics = card.config, card.metrics
    phases = " > ".join(str(phase["train"]) for phase in config["freeze"]["phases"])
    yield f"- Trained: {plain(phases)} (phases, what trains in each), {metrics.get('epochs', '?')} epochs, "
    yield f"  batches of {config['data'].get('batch_size', '?')}, seed {config['seed']}"
    for part in ("loss", "optimizer", "scheduler") if config["loss"] else ("optimizer", "scheduler"):
        settings = [f"{key} {value}" for key, value in config[part].items() if not key.startswith("_")]
        yield f"- {part.title()}: {plain(last_part(config[part]['_target_']).rpartition('.')[2])}" + (
            f" ({plain(', '.join(settings))})" if settings else ""
        )
    drawn = [f"{key} {value}" for key, value in config["augment"].items() if value]
    yield f"- Augmentation: {plain(', '.join(drawn)) if drawn else 'none'}"
    yield f"- Chosen on val by {plain(config['task']['monitor'])}; training took {number(metrics.get('fit_seconds'))} s"


def metric_table(card: CardFacts) -> Iterator[str]:
    metrics = card.metrics
    splits = [split for split in ("val", "test") if any(key.startswith(f"{split}/") for key in metrics)]
    names = dict.fromkeys(key.partition("/")[2] for key in metrics if key.partition("/")[0] in splits)
    if not names:
        yield "Nothing was measured."
        return
    yield f"| metric | {' | '.join(splits)} |\n|---|{'---|' * len(splits)}"
    for name in names:
        cells = []
        for split in splits:
            between = card.intervals.get(f"{split}/{name}")
            span = f" ({number(between[0])} to {number(between[1])})" if between else ""
            cells.append(number(metrics.get(f"{split}/{name}")) + span)
        direction = {"max": " (higher is better)", "min": " (lower is better)"}.get(facts_of(f"val/{name}").better, "")
        yield f"| {plain(name)}{direction} | {' | '.join(cells)} |"
    if card.intervals:
        yield "\nIn brackets: 95 % intervals, for other images of the same kind. The best epoch was chosen on val,"
        yield "so val's numbers are optimistic."


def about_calibration(card: CardFacts) -> Iterator[str]:
    metrics = card.metrics
    temperature, slope = card.calibration.get("temperature"), card.calibration.get("score_slope")
    if temperature is not None:
        name, what = "ece", "Expected calibration error"
        yield f"Logits are divided by a temperature of {number(temperature)}, fitted on val. {what}:"
    elif slope is not None:
        name, what = "dece", "Calibration error of the scores (D-ECE, 10 bins by score, right from IoU 0.5 on)"
        shift = f"{card.calibration.get('score_shift', 0):+.4g}"
        yield f"Scores are sigmoid({number(slope)} · logit(score) {shift}), fitted on val. {what}:"
    else:
        yield "The model gives no probabilities that were calibrated."
        return
    for split in ("val", "test"):
        if f"{split}/{name}" in metrics:
            before, after = metrics.get(f"{split}/{name}_uncalibrated"), metrics[f"{split}/{name}"]
            yield f"- {split}: {number(before)} before, {number(after)} after"


def limits(card: CardFacts) -> Iterator[str]:
    """What the numbers themselves say against the model."""
    train = card.class_counts.get("train", [])
    rare = [name for name, count in zip(card.class_names, train, strict=False) if count < FEW_IMAGES]
    if rare:
        shown = ", ".join(plain(name) for name in rare[:10]) + (f" and {len(rare) - 10} more" if len(rare) > 10 else "")
        yield f"- Few images: fewer than {FEW_IMAGES} in train of {shown}."
    shares = [key for key in card.metrics if facts_of(key).counts_images and card.split_counts.get(key.split("/")[0])]
    hidden = f"{'Accuracy' if shares else 'A mean'} hides what happens to the small ones"
    if train and max(train) > 5 * max(min(train), 1):
        yield (
            f"- Imbalanced: the largest class has {max(train):,} training images, the smallest {min(train):,}. "
            f"{hidden}; look at {'balanced accuracy and at ' if shares else ''}the classes."
        )
    for split in dict.fromkeys(key.split("/")[0] for key in shares):
        points = 100 / card.split_counts[split]
        yield f"- One image of {split} is {points:.2g} points of accuracy: smaller differences mean nothing."
    wide = [key for key in shares if (span := card.intervals.get(key)) and span[1] - span[0] > 0.1]
    if wide:
        yield f"- The intervals of {', '.join(wide)} are wider than 10 points: there are too few images to tell."
    if not any(key.startswith("test/") for key in card.metrics):
        yield "- Not tested: no test images were held back and measured, and val chose the weights."
    usual = card.calibration.get("ood_score_p99")
    helps = (
        "" if usual is None else f" src.predict's ood_score helps to see them: 1 % of val was above {number(usual)}."
    )
    yield f"- Images unlike those of the training get an answer too, often a confident one.{helps}"
    yield f"- Other limits, such as groups of people, places or cameras that the images do not show: {TO_FILL_IN}"


def about_environment(card: CardFacts) -> Iterator[str]:
    environment = card.environment
    versions = environment.get("versions", {})
    listed = ", ".join(f"{plain(name)} {plain(version)}" for name, version in versions.items())
    yield f"- Python {plain(environment.get('python', 'unknown'))}, {listed}"
    yield f"- Hardware: {plain(', '.join(environment.get('gpus') or []) or 'CPU')}"
    dirty = ", with changes that were not committed" if environment.get("git_dirty") else ""
    yield f"- Commit {plain(environment.get('git_commit') or 'unknown')}{dirty}"
    yield f"- Fingerprint of the data: {plain(environment.get('data_fingerprint', 'unknown'))}"


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
