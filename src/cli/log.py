"""The log: our own lines on stderr and in the run's train.log, and few of other libraries. Imports no torch."""

import logging
import sys
import warnings
from pathlib import Path
from typing import TextIO

from src.cli.launch import process_rank
from src.files.printable import printable


class PrintableFormatter(logging.Formatter):
    """Spells out what a terminal would obey: names of classes and files come from strangers."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever sys.stderr is at that moment, so that a progress bar can lift itself over a log line."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        pass


def set_up_log(output_dir: Path | None) -> None:
    """Our own log lines go to stderr and to `<output_dir>/train.log`; other libraries' only from warnings on."""
    root = logging.getLogger()
    for handler in root.handlers:
        handler.close()
    root.handlers, main_process = [ConsoleHandler()], process_rank() == 0
    root.handlers[0].setFormatter(PrintableFormatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    if output_dir is not None and main_process:
        output_dir.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(output_dir / "train.log", delay=True, encoding="utf-8")
        file.setFormatter(PrintableFormatter("%(asctime)s %(levelname)-7s %(module)s: %(message)s"))
        root.addHandler(file)
    root.setLevel(logging.WARNING)
    quieten_libraries()
    for name in ("src", "__main__"):  # a command that was started with -m is __main__
        logging.getLogger(name).setLevel(logging.INFO if main_process else logging.ERROR)


def quieten_lightning() -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def quieten_libraries() -> None:
    """Our log says what Lightning's own lines say; warnings that a user of this project can do nothing about go."""
    # Of a split whose outputs are all not finite, which is said by itself.
    warnings.filterwarnings("ignore", r"The ``compute`` method of metric \w+ was called before the ``update`` method")
    warnings.filterwarnings("ignore", module="PIL")  # half-damaged files; what cannot be read is reported by path
    quieten_lightning()
    for message in (
        ".*module.s. in eval mode at the start of training.*",  # frozen modules, on purpose
        ".*does not have many workers.*",
        ".*`srun` command is available on your system but is not used.*",  # src/build/trainer.py looks who did
        ".*could not find the monitored key in the returned metrics.*",  # trainer.check_val_every_n_epoch
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*`training_step` returned `None`.*",  # a batch that was left out, which is said by itself
        ".*number of training batches .* is smaller than the logging interval.*",
        ".*No positive samples found in target.*",
        ".*Experiment logs directory .* exists and is not empty.*",
        ".*using `DistributedSampler`.*",
        ".*isinstance.treespec, LeafSpec.*",
        ".*given buffer is not writable.*",  # torch.export.load of torch 2.11
        ".*It is recommended to use .self.log.*sync_dist=True.*",  # these values are the same on every process
        ".*resuming from a checkpoint that ended before the epoch ended.*",  # the sampler knows where to go on
        ".*callbacks used to create the checkpoint need to be provided.*",
        "GPU available but not used.*",  # trainer=cpu says so
    ):
        warnings.filterwarnings("ignore", message=message)
