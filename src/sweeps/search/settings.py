"""The settings of a search: what conf/hydra/sweeper/search.yaml may say, typed as search.<setting>."""

from dataclasses import dataclass, fields
from typing import Annotated, Any

from src.settings import nodes
from src.settings.errors import ConfigError
from src.settings.rules import at_least, one_of, wrong_values


@dataclass(frozen=True)
class SearchSettings:
    trials: nodes.Count
    jobs: nodes.Count | None
    sampler: Annotated[str, one_of("tpe", "random")]
    pruner: Annotated[str, one_of("none", "median", "hyperband")]
    seed: Annotated[int, at_least(0, at_most=2**32 - 1)]
    timeout_minutes: nodes.Positive | None

    @classmethod
    def read(cls, values: dict[str, Any]) -> "SearchSettings":
        """Raises ConfigError."""
        if problems := list(wrong_values(cls, values, "search.")):
            raise ConfigError("\n".join(problems))
        return cls(**{one.name: values[one.name] for one in fields(cls)})
