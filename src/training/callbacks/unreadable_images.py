"""Images that cannot be read: named in the log, and listed in a file."""

import logging
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from src.files.csv_files import read_csv_file, write_csv_file
from src.files.printable import printable
from src.files.whole_files import replaced
from src.settings.plurals import number_of
from src.training.callbacks.every_batch import EveryBatch
from src.training.processes import gathered

log = logging.getLogger(__name__)

MAX_SAID = 20  # images that the log names; unreadable.csv has all


class UnreadableImages(EveryBatch):
    """Says once for each damaged image that it is skipped; lists them with reasons in a csv file, if one is given.

    The file is written at the end of each epoch. So images that were all gone when the run ended
    (src/training/callbacks/readable_images.py) are not on the list: they are not damaged. Its columns are path and
    reason; `spreadsheet_safe` is as in CsvWriter.
    """

    def __init__(self, output: str | None = None, spreadsheet_safe: bool = True) -> None:
        self.output, self.spreadsheet_safe = Path(output) if output is not None else None, spreadsheet_safe
        self.known: set[str] = set()
        self.new: dict[str, str] = {}  # reasons by path, of the current epoch
        self.said = self.told = 0

    def setup(self, trainer: Trainer, task: LightningModule, stage: str) -> None:
        if self.output is not None:
            self.known |= {row.get("path", "") for row in read_csv_file(self.output)}

    def see(self, trainer: Trainer, split: str, outputs: Any, batch: Any, i: int) -> None:
        for path, reason in batch["unreadable"]:
            if path in self.known:
                continue
            self.known.add(path)
            self.new[path] = reason
            self.said += 1
            if self.said <= MAX_SAID:
                log.warning("Skipped, cannot be read: %s (%s)", printable(path), printable(reason))
            elif self.said == MAX_SAID + 1:
                where = f": {self.output} lists all of an epoch that has ended" if self.output is not None else ""
                log.warning("More images cannot be read than the log names%s.", where)

    def write_list(self, trainer: Trainer) -> None:
        """Add to the file what all processes have met since the last time."""
        new = dict(gathered(list(self.new.items())))
        self.new = {}
        self.known |= new.keys()
        if self.output is None or not new or not trainer.is_global_zero:
            return
        listed = {row.get("path", ""): row.get("reason", "") for row in read_csv_file(self.output)}
        with replaced(self.output) as part:
            write_csv_file(part, ["path", "reason"], (listed | new).items(), self.spreadsheet_safe)

    def epoch_end(self, trainer: Trainer, split: str) -> None:
        if split != "val" or trainer.state.fn != TrainerFn.FITTING:  # else the training epoch ends next
            self.write_list(trainer)

    def on_fit_end(self, trainer: Trainer, task: LightningModule) -> None:
        if len(self.known) > self.told and trainer.is_global_zero:
            self.told = len(self.known)
            where = f"; {self.output} lists them" if self.output is not None else ""
            what = number_of(len(self.known), "image cannot be read and was", "images cannot be read and were")
            log.warning("%s skipped%s.", what, where)
