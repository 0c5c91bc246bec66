"""What is searched: settings and the values that each may take, as Hydra's grammar for sweeps says them.

`a,b,c`, `choice(a,b)`, `range(1,9,2)`, `interval(0.1,0.5)`, `int(interval(8,64))`, `glob(res*)`. An interval is
searched on a logarithmic scale where it spans two decades or more, or where it says so: `tag(log,interval(1,5))`; else,
or with `tag(linear,...)`, on a linear one.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from src.settings.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LOG_FROM = 100  # times the lower end, from which on an interval is searched on a logarithmic scale
STEPS = 1000  # into which an interval on a linear scale is rounded at least
TAGS = ({"log"}, {"linear"}, set[str]())
NOT_SEARCHED = {
    "seed": "the best of several seeds is luck, and says nothing of the next one: sweep=seeds tells their spread",
    "data.fold": "data.folds=<number> alone makes each trial the mean over all folds",
    "data.folds": "trials of more or fewer folds cannot be compared",
    "data.split_seed": "the best of several splits is the one that flatters most",
    "task": "trials of several tasks cannot be compared", "task.monitor": "it compares the trials",
    "task.mode": "it compares the trials", "output_dir": "trials have folders of their own",
    "sweep": "it is this search", "test": "test is measured for the best trial alone",
}  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """A setting that takes one of some values, as they are typed. `typed`: its name, with a + if that was typed."""

    key: str
    typed: str
    values: tuple[str, ...]

    def ends(self) -> Iterator[str]:
        """The values that have to be right for all to be."""
        yield from self.values

    def text(self, value: Any) -> str:
        """Raises ConfigError for a value that is not among them, out of a journal that is not ours."""
        if value not in self.values:
            raise ConfigError(f"The journal has {self.key}={value!r}, which was not among the values: {self.words()}.")
        return str(value)

    def words(self) -> str:
        return ", ".join(self.values)

    def distribution(self) -> "BaseDistribution":
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)


@dataclass(frozen=True)
class Numbers:
    """A setting that takes numbers, both ends included; `step`: None = any between."""

    key: str
    typed: str
    low: float
    high: float
    whole: bool = False
    step: float | None = None
    log: bool = False

    def ends(self) -> Iterator[str]:
        yield from dict.fromkeys((self.text(self.low), self.text(self.high)))

    def text(self, value: Any) -> str:
        """With the digits that make a difference: four on a logarithmic scale, else a thousandth of the interval.

        Raises ConfigError as `Choice.text` does.
        """
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise ConfigError(f"The journal has {self.key}={value!r}, which is not within {self.words()}.")
        if self.whole:
            return str(round(value))
        if value in (self.low, self.high):
            return repr(float(value))
        digits = math.ceil(math.log10(STEPS / (self.high - self.low))) if self.high > self.low and not self.step else 12
        rounded = float(f"{value:.4g}") if self.log else round(float(value), max(digits, 0))
        return repr(min(max(rounded, self.low), self.high))

    def words(self) -> str:
        kind = "whole numbers " if self.whole else ""
        by = f" by {self.step:g}" if self.step not in (None, 1) else ""
        return f"{kind}{self.low:g} to {self.high:g}{by}{', on a logarithmic scale' if self.log else ''}"

    def distribution(self) -> "BaseDistribution":
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)


Dimension = Choice | Numbers


@dataclass(frozen=True)
class Space:
    """`fixed`: what all trials have in common, as it was typed."""

    dimensions: tuple[Dimension, ...]
    fixed: tuple[str, ...]

    def overrides(self, texts: dict[str, str]) -> list[str]:
        """Of a trial with these values by key, as Hydra takes them."""
        return [*self.fixed, *(f"{one.typed}={texts[one.key]}" for one in self.dimensions)]

    def texts(self, values: dict[str, Any]) -> dict[str, str]:
        """As they are typed, of values by key."""
        return {one.key: one.text(values[one.key]) for one in self.dimensions}

    def described(self) -> dict[str, str]:
        """In words, by key."""
        return {one.key: one.words() for one in self.dimensions}


def read_space(typed: Sequence[str], loader: ConfigLoader | None = None) -> Space:
    """Of a command line, of which a later setting wins over an earlier one. Raises ConfigError."""
    parser = OverridesParser.create()
    dimensions, fixed = dict[str, Dimension](), dict[str, str]()
    for text in typed:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            raise ConfigError(f"{text} is not understood: {str(error).splitlines()[0]}") from error
        key, override.config_loader = override.key_or_group, loader  # in which glob(...) looks
        dimensions.pop(key, None), fixed.pop(key, None)
        if override.is_sweep_override():
            dimensions[key] = dimension(override)
        else:
            fixed[key] = text
    if not dimensions:
        raise ConfigError(
            "sweep=search has nothing to search: give settings several values, for example "
            "'optimizer.lr=interval(1e-5,1e-1)' 'freeze=choice(none,head_then_all)'."
        )
    return Space(tuple(dimensions.values()), tuple(fixed.values()))


def dimension(override: Override) -> Dimension:
    """Raises ConfigError for a setting that cannot be searched, or values that are none."""
    key, typed, said = override.key_or_group, override.get_key_element(), str(override.input_line)
    if key in NOT_SEARCHED:
        raise ConfigError(f"{said}: {key} cannot be searched: {NOT_SEARCHED[key]}.")
    value: Any = override.value()
    tags: set[str] = getattr(value, "tags", set())
    if tags not in TAGS:
        raise ConfigError(f"{said}: tag({', '.join(sorted(tags))}) is not known. Known: tag(log,...), tag(linear,...).")
    if isinstance(value, IntervalSweep):
        return interval(key, typed, said, value)
    if isinstance(value, RangeSweep):
        return in_steps(key, typed, said, list(value.range()))
    values = tuple(dict.fromkeys(override.sweep_string_iterator()))
    if not values:
        raise ConfigError(f"{said}: there is no value to choose from.")
    return Choice(key, typed, values)


def interval(key: str, typed: str, said: str, value: IntervalSweep) -> Numbers:
    low, high = value.start, value.end
    assert low is not None and high is not None
    if not (math.isfinite(low) and math.isfinite(high)) or low >= high:
        raise ConfigError(f"{said}: the interval is empty: its lower end comes first, as in interval(1e-5,1e-1).")
    if "log" in value.tags and low <= 0:
        raise ConfigError(f"{said}: a logarithmic scale begins above 0, and not at {low:g}.")
    wide = low > 0 and high >= LOG_FROM * low
    log = "log" in value.tags or (wide and "linear" not in value.tags)
    return Numbers(key, typed, low, high, whole=isinstance(low, int), log=log)


def in_steps(key: str, typed: str, said: str, values: list[float]) -> Numbers:
    if not values:
        raise ConfigError(f"{said}: the range is empty: it ends before its second number, as in range(1,5).")
    whole = all(isinstance(one, int) for one in values)
    low, high = min(values), max(values)
    step = abs(values[1] - values[0]) if len(values) > 1 else 1.0
    step = step if whole else float(f"{step:.12g}")
    return Numbers(key, typed, low, high, whole, step)
