"""A ranking in words, for terminal and page alike."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from src.choosing.budget import DoesNotFit
from src.choosing.candidates import Candidate, parsed
from src.choosing.ranking import Place, Ranking
from src.choosing.untried import Untried
from src.evaluation.metric_facts import facts_of

FASTER = 1.2  # times as fast: less is what measuring twice differs by


def table_rows(ranking: Ranking) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, and a row of texts for each place."""
    share = facts_of(ranking.metric).unit == "share"
    columns = ["backbone", ranking.metric, "95 %", f"to the first{', points' if share else ''}", "95 %"]
    columns += ["images/s", "in training", "parameters", "px"]
    rows = []
    for place in ranking.places:
        facts, low_high = place.result.facts, place.difference_interval
        rows.append(
            [
                short_name(place.result.name),
                value_text(place.score),
                f"{value_text(place.interval[0])} to {value_text(place.interval[1])}",
                "" if place is ranking.first else difference_text(place.difference, share),
                "" if place is ranking.first else " to ".join(difference_text(end, share) for end in low_high),
                rate_text(facts["images_per_s_inference"]),
                rate_text(facts["images_per_s_training"]),
                f"{facts['parameters'] / 1e6:.1f} M",
                str(facts["image_px"]),
            ]
        )
    return columns, rows


def short_name(name: str) -> str:
    """Of a file of weights its last part alone, with its folder."""
    backbone, at, weights = name.partition("@")
    return f"{backbone}{at}{'/'.join(PurePath(weights).parts[-2:])}" if "/" in weights else name


def value_text(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.5g}"


def difference_text(value: float, share: bool) -> str:
    return f"{100 * value:+.1f}" if share else f"{value:+.3g}"


def rate_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def verdict(ranking: Ranking) -> list[str]:
    """Sentences: who is first, and who is as good as far as these images tell."""
    first, ties = ranking.first, ranking.ties
    name, others = short_name(first.result.name), len(ranking.places) - 1
    lines = []
    if not others:
        lines.append(f"{name} is the only one that was tried.")
    elif not ties:
        lines.append(f"{name} comes first: the probe of every other one is worse by more than chance.")
    else:
        names = ", ".join(short_name(place.result.name) for place in ties)
        told = f"the others ({names})" if len(ties) == others else names
        lines.append(
            f"{name} comes first, but cannot be told apart from {told}: on {ranking.images:,} images the difference "
            "may be chance."
        )
        if (fastest := quickest([first, *ties])) is not first:
            times = fastest.result.facts["images_per_s_training"] / first.result.facts["images_per_s_training"]
            lines.append(f"Of these, {short_name(fastest.result.name)} trains {times:.1f} times as fast.")
    if others > 1:
        lines.append("The first of several looks a little better than it is, since it was chosen by these scores.")
    return lines


def quickest(places: Sequence[Place]) -> Place:
    """The first of them, unless another network is known to be clearly faster in training."""
    rates = [place.result.facts["images_per_s_training"] or 0.0 for place in places]
    best = max(range(len(places)), key=rates.__getitem__)
    same = places[best].result.facts["backbone"] == places[0].result.facts["backbone"]  # measured twice
    return places[best] if not same and rates[0] and rates[best] > FASTER * rates[0] else places[0]


def commands(ranking: Ranking, words: Iterable[str]) -> list[str]:
    """To go on with the first: everything trains; and the head alone, on the features that are kept already."""
    words = [word for word in words if not word.lstrip("+").startswith("data.cache=")]  # auto finds the features
    chosen = [*words, *parsed(ranking.first.result.name).settings]
    everything = shlex.join(["python", "-m", "src.train", *chosen])
    return [everything, f"{everything} freeze=head_only augment=none"]


def not_tried(candidate: Candidate, error: DoesNotFit) -> Untried:
    if error.seconds is None:
        return Untried(candidate.text, "not tried", "no time was left")
    reason = f"its features alone would take {minutes(error.seconds)} more, with {minutes(error.left)} left"
    return Untried(candidate.text, "not tried", reason)


def minutes(seconds: float) -> str:
    return f"{max(seconds, 0) / 60:.1f} min"
