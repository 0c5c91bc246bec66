"""Whether a run can be published as it is. Imports no torch."""

from collections.abc import Sequence
from pathlib import Path

from src.settings.errors import ConfigError

CARD = "report/model_card.md"


def require_publishable(run: Path, folder: Path, files: Sequence[Path]) -> None:
    """Raises ConfigError if something is missing, or leads out of the run, or if the folder is taken."""
    needed = [run / "checkpoints" / "best.ckpt", run / CARD, run / "metrics.json", *files]
    if missing := [path for path in needed if not path.is_file()]:
        raise ConfigError(
            f"'{missing[0]}' does not exist. A run that has ended has checkpoints/best.ckpt, {CARD} and metrics.json."
        )
    for path in needed[1:3]:  # of a run that is somebody else's
        if not path.resolve().is_relative_to(run.resolve()):
            raise ConfigError(f"'{path}' is a link that leads out of the run: nothing was published.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"output='{folder}' is there already and not empty: give another, or delete it.")
