"""What a setting may be, said in its type: `Annotated[float, more_than(0)]`, and the check of values against it.

The same words serve the fields of our own nodes (nodes.py), which are checked before torch is imported, and the
arguments of whatever else a `_target_` names (signatures.py).
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from src.settings.errors import did_you_mean


@dataclasses.dataclass(frozen=True)
class Range:
    """Finite numbers from `low`, itself included or not, to `high`."""

    low: float
    high: float
    includes_low: bool

    def problem(self, key: str, value: float) -> str | None:
        above = self.low <= value if self.includes_low else self.low < value
        if above and value <= self.high and value != math.inf:
            return None
        limits = f"{'at least' if self.includes_low else 'more than'} {self.low:g}"
        limits += f" and at most {self.high:g}" if self.high != math.inf else " and finite" if value == math.inf else ""
        shown = f"{value:g}" if isinstance(value, float) else str(value)[:30]
        return f"{key}={shown} is out of range: it must be {limits}."


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    def problem(self, key: str, value: Any) -> str | None:
        if str(value) in self.words:
            return None
        hint = did_you_mean(str(value), self.words)
        return f"{key}={value!r} is not allowed.{hint} Allowed: {', '.join(self.words)}."


class ReadByUs:
    """Marks a key that stands beside a `_target_` and is no argument of what that names."""


def at_least(low: float, at_most: float = math.inf) -> Range:
    return Range(low, at_most, True)


def more_than(low: float, at_most: float = math.inf) -> Range:
    return Range(low, at_most, False)


def one_of(*words: str) -> Choice:
    return Choice(words)


def parts_of(hint: Any) -> tuple[list[Any], list[Any]]:
    """The kinds of value that a type allows, and what is said beside them."""
    if get_origin(hint) is Annotated:
        inner, *said = get_args(hint)
        kinds, more = parts_of(inner)
        return kinds, said + more
    if get_origin(hint) in (Union, UnionType):
        parts = [parts_of(one) for one in get_args(hint)]
        return [kind for kinds, _ in parts for kind in kinds], [one for _, said in parts for one in said]
    return [hint], []


def node_type(hint: Any) -> Any | None:
    """The dataclass or TypedDict that says what lies below a setting; None if nothing does."""
    return next((one for part in parts_of(hint) for one in part if is_node(one)), None)


def is_node(kind: Any) -> bool:
    return is_typeddict(kind) or (dataclasses.is_dataclass(kind) and isinstance(kind, type))


def is_declared(node: Any, key: str) -> bool:
    """Whether a node's type says what a dotted key may be."""
    name, _, rest = key.partition(".")
    hint = get_type_hints(node, include_extras=True).get(name, Any)
    if not rest:
        return hint is not Any
    inner = node_type(hint)
    return inner is not None and is_declared(inner, rest)


def wrong_values(node: Any, values: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    """What is wrong with the plain values of a node, a dataclass or TypedDict, by its type: kind, range, choice, null.

    Keys may be absent; `???` is a value that is not given yet. `prefix`: of the node's keys, for messages.
    """
    for name, hint in get_type_hints(node, include_extras=True).items():
        if name in values:
            yield from wrong_value(hint, values[name], f"{prefix}{name}")


def wrong_value(hint: Any, value: Any, key: str) -> Iterator[str]:
    kinds, said = parts_of(hint)
    plain = [plain_kind(kind) for kind in kinds]
    if value == "???" or Any in plain or (value is None and NoneType in kinds):
        return
    wanted = " or ".join(dict.fromkeys(KIND_WORDS[kind] for kind in plain if kind is not NoneType))
    if value is None:
        yield f"{key}=null is not allowed: it needs {wanted}."
    elif not any(fits(kind, value) for kind in plain):
        yield f"{key}={value!r} is not {wanted}."
    elif isinstance(value, Mapping):
        yield from wrong_values(node, value, f"{key}.") if (node := node_type(hint)) is not None else ()
    elif isinstance(value, list):
        inner = next((get_args(kind) for kind in kinds if get_origin(kind) is list), ())
        for number, one in enumerate(value if inner else ()):
            yield from wrong_value(inner[0], one, f"{key}.{number}")
    else:
        problems = [rule.problem(key, value) for rule in said if isinstance(rule, Range | Choice)]
        yield from (problem for problem in problems if problem is not None)


KIND_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list such as [1, 2]",
    dict: "settings, such as {key: value}",
    NoneType: "null",
}


def plain_kind(kind: Any) -> Any:
    """One of KIND_WORDS; Any for other types, of which nothing is known here."""
    found = dict if is_node(kind) else get_origin(kind) or kind
    return found if found in KIND_WORDS else Any


def fits(kind: Any, value: Any) -> bool:
    """Whether a value is of a kind. Whole numbers are numbers, and whatever stands alone can be read as a text."""
    if kind in (int, float):
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    if kind is str:
        return not isinstance(value, Mapping | list)
    return isinstance(value, Mapping if kind is dict else kind)
