"""Whether networks can answer together, and which classes of one are which of another."""

from collections.abc import Sequence
from dataclasses import asdict

from src.build.trained_model import TrainedModel
from src.settings.errors import ConfigError


def require_agreement(members: Sequence[TrainedModel]) -> None:
    """Raise ConfigError unless all have one task and the same classes (or targets), and see the same pixels."""
    first = members[0]
    if first.task.combination is None:
        raise ConfigError(
            f"ckpt, tta: answers of task.name={first.record.task_name} are not averaged: name one checkpoint, and "
            "leave tta out."
        )
    for other in members[1:]:
        names = f"ckpt: '{first.file}' and '{other.file}' cannot answer together"
        if other.record.task_name != first.record.task_name:
            raise ConfigError(
                f"{names}: one has task.name={first.record.task_name}, the other task.name={other.record.task_name}."
            )
        ours, theirs = set(first.record.class_names), set(other.record.class_names)
        if ours != theirs:
            shown = ", ".join(sorted(ours ^ theirs)[:5])
            raise ConfigError(f"{names}: only one of them knows {shown}. Their classes (or targets) must be the same.")
        if other.preprocessing != first.preprocessing:
            mine, its = asdict(first.preprocessing), asdict(other.preprocessing)
            differing = [f"{key} {mine[key]} and {its[key]}" for key in mine if mine[key] != its[key]]
            raise ConfigError(
                f"{names}: they see images otherwise ({'; '.join(differing)}), and all members must see the same "
                "pixels. Train them with the same data.image_size_px, data.resize_px and data.resize_mode, and with "
                "weights of the same mean and std."
            )


def order_of(member: TrainedModel, first: TrainedModel) -> list[int] | None:
    """Where the first one's classes are among this one's; None if they stand in the same order."""
    ours, its = first.record.class_names, member.record.class_names
    return None if its == ours else [its.index(name) for name in ours]
