"""Hydra's callback for the table of a sweep, where the sweep is a search: this one writes its table by itself."""

from typing import Any

from src.sweeps.table import SweepTable, take_new_folder


class SearchTable(SweepTable):
    """Takes the folder. What lies in it may be this search's, which goes on with it."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        take_new_folder(config)

    def on_multirun_end(self, config: Any, **_: Any) -> None:
        pass
