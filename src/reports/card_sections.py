"""What a model card says about its model: data, training, metrics, calibration, environment."""

from collections.abc import Iterator

from src.evaluation.metric_facts import facts_of
from src.reports.card_facts import CardFacts
from src.reports.markdown import TO_FILL_IN, last_part, number, plain

SHOWN_CLASSES = 50


def what_it_is(card: CardFacts) -> Iterator[str]:
    yield f"A torchvision `{card.config['backbone']['name']}`, fine-tuned, that {card.words.does}. {origin(card)}"
    yield ""
    shown = ", ".join(plain(name) for name in card.class_names[:SHOWN_CLASSES])
    more = f" and {len(card.class_names) - SHOWN_CLASSES} more" if len(card.class_names) > SHOWN_CLASSES else ""
    yield f"{card.words.outputs.title()}: {shown}{more}."


def origin(card: CardFacts) -> str:
    weights = card.config["backbone"]["weights"]
    if weights is None:
        return "It was trained from random weights."
    return f"It started from the pretrained weights {plain(last_part(weights))}."


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
    for part in ("loss", "optimizer", "scheduler"):
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
    temperature = card.calibration.get("temperature")
    if temperature is None:
        yield "The model gives no probabilities that were calibrated."
        return
    yield f"Logits are divided by a temperature of {number(temperature)}, fitted on val. Expected calibration error:"
    for split in ("val", "test"):
        if f"{split}/ece" in metrics:
            before, after = metrics.get(f"{split}/ece_uncalibrated"), metrics[f"{split}/ece"]
            yield f"- {split}: {number(before)} before, {number(after)} after"


def about_environment(card: CardFacts) -> Iterator[str]:
    environment = card.environment
    versions = environment.get("versions", {})
    listed = ", ".join(f"{plain(name)} {plain(version)}" for name, version in versions.items())
    yield f"- Python {plain(environment.get('python', 'unknown'))}, {listed}"
    yield f"- Hardware: {plain(', '.join(environment.get('gpus') or []) or 'CPU')}"
    dirty = ", with changes that were not committed" if environment.get("git_dirty") else ""
    yield f"- Commit {plain(environment.get('git_commit') or 'unknown')}{dirty}"
    yield f"- Fingerprint of the data: {plain(environment.get('data_fingerprint', 'unknown'))}"
