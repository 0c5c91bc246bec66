"""The share of the images that can be read: a warning where it falls, and the end of a run that can read none."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from lightning import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from src.cli.run_dir import resume_command
from src.files.printable import printable
from src.settings.errors import RunStopped
from src.training.callbacks.every_batch import EveryBatch
from src.training.processes import gathered, summed

log = logging.getLogger(__name__)

MAX_REASONS = 3  # in a message
MAX_EMPTY_BATCHES = 50  # of training in a row, on all processes: then the rest of the epoch is not tried
FIRST_SHARE = 0.1  # unreadable in the first epoch, from which on it is warned about
GROWN_SHARE = 0.01  # in a later epoch, if it is twice what was known


@dataclass
class EpochTally:
    """Of an epoch of one split on this process: images read, and why others were not, by path."""

    read: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    read_before: int = 0  # when training was last looked at


class RequireReadableImages(EveryBatch):
    """Ends the run when an epoch of train, val or test had not one readable image: a network disk is gone, say.

    That is before a checkpoint of this epoch is written, so the run can go on from the last good one. All processes
    decide together. A share of unreadable images that is high, or twice what it was, is warned about. `root`: where the
    images are; None = the trainer's data module knows.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root
        self.tallies: dict[str, EpochTally] = {}
        self.shares: dict[str, float] = {}  # last told, or else of the first epoch, by split

    def epoch_end(self, trainer: Trainer, split: str) -> None:
        """Raise RunStopped if no process could read an image of it."""
        tally = self.tallies.pop(split, EpochTally())
        read, missing = summed(trainer, tally.read, len(tally.reasons))
        if not read + missing:  # Lightning's sanity check, which is not counted
            return
        if missing and not read:
            self.stop(trainer, split, tally)
        # In training another image has taken the place of each of them.
        share = missing / max(read if split == "train" else read + missing, missing, 1)
        before = self.shares.get(split)
        limit = FIRST_SHARE if before is None else max(2 * before, GROWN_SHARE)
        if share >= limit and trainer.is_global_zero:
            known = "" if before is None else f" (it was {before:.1%})"
            reasons = shown_reasons(tally.reasons)
            log.warning(
                "%.1f %% of the %s images%s could not be read%s: %d.%s",
                100 * share, split, epoch_text(trainer), known, missing, f"\n{reasons}" if reasons else "",
            )  # fmt: skip
        if share >= limit or before is None:
            self.shares[split] = share

    def stop(self, trainer: Trainer, split: str, tally: EpochTally) -> NoReturn:
        reasons = dict(gathered(list(tally.reasons.items())))
        root = self.root or getattr(getattr(getattr(trainer, "datamodule", None), "table", None), "root", None)
        text = f"None of {len(reasons)} {split} images{epoch_text(trainer)} could be read:\n{shown_reasons(reasons)}\n"
        text += f"They were looked for in {root}. " if root is not None else ""
        last = Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt"
        if not trainer.checkpoint_callbacks:
            text += "See that they are there and may be read, or name other data."
        elif last.is_file():
            text += "The checkpoints are the last good ones; when the images are there again, go on with: "
            text += resume_command(Path(trainer.default_root_dir))
        else:
            text += "There is no checkpoint yet: when the images are there again, start again."
        raise RunStopped(text)

    def on_train_start(self, trainer: Trainer, task: LightningModule) -> None:
        self.tallies.clear()

    def see(self, trainer: Trainer, split: str, outputs: Any, batch: Any, i: int) -> None:
        if trainer.sanity_checking:
            return
        tally = self.tallies.setdefault(split, EpochTally())
        tally.read += len(batch["label"])
        tally.reasons.update(batch["unreadable"])
        if split == "train" and not (i + 1) % MAX_EMPTY_BATCHES:
            if not summed(trainer, tally.read - tally.read_before)[0]:
                self.stop(trainer, "train", tally)
            tally.read_before = tally.read


def epoch_text(trainer: Trainer) -> str:
    return f" of epoch {trainer.current_epoch + 1}" if trainer.state.fn == TrainerFn.FITTING else ""


def shown_reasons(reasons: dict[str, str]) -> str:
    """A line for each of the first few."""
    lines = [f"  {printable(path)}: {printable(reason)}" for path, reason in list(reasons.items())[:MAX_REASONS]]
    return "\n".join([*lines, *(["  ..."] if len(reasons) > MAX_REASONS else [])])
