"""`from src import TrainedModel, fine_tune`: the project as a library (docs/library.md).

Neither they nor torch are imported before one of them is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from src.library import FineTuned, TrainedModel, fine_tune

__all__ = ["FineTuned", "TrainedModel", "fine_tune"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'src' has no attribute '{name}'")
    from src import library

    return getattr(library, name)
