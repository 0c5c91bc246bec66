"""What the loggers of services have in common: a training is not lost with them, and goes on in the same run there."""

import logging
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers.logger import Logger

from src.cli.launch import process_rank
from src.files.printable import printable
from src.settings.errors import ConfigError, first_line
from src.settings.loggers import without_secrets

log = logging.getLogger(__name__)

PROJECT = "torchvision-finetune"  # under which a service lists the runs, where nothing names another
MOST_FAILURES = 3  # one after the other; each may have waited for a network
RUN_ID = re.compile(r"[0-9a-f]{32}")

Status = Literal["finished", "failed", "interrupted"]


class ServiceLogger(Logger):
    """In front of Lightning's logger among the bases of a class: what may fail is tried, and given up at last.

    `service`: its name in messages. `log_model`: whether best.ckpt goes there when the run has ended.
    """

    service = ""
    way_out = ""  # where the service cannot be reached
    log_model = False
    failures = 0

    def begin(self, run_dir: Path, run_id: str, resumed: bool) -> None:
        """Open the run there, or the one that was opened for this `run_id` before; nothing but on the first process.

        Raises ConfigError if it cannot be.
        """
        if process_rank() != 0:
            return
        if not RUN_ID.fullmatch(run_id):  # out of a checkpoint that was not written here
            run_id, resumed = uuid.uuid4().hex, False
        try:
            self.open(name_of(run_dir), run_id, resumed)
        except Exception as error:
            said = without_secrets(first_line(error)).rstrip(".")
            raise ConfigError(f"{self.service} cannot be used: {printable(said)}. {self.way_out}") from error
        log.info("%s: %s", self.service, without_secrets(self.place()))

    def open(self, name: str, run_id: str, resumed: bool) -> None:
        """Whatever it raises is told as one message."""
        raise NotImplementedError

    def place(self) -> str:
        """Where the run can be seen."""
        raise NotImplementedError

    def close(self, status: Status) -> None:
        """End the run there."""
        raise NotImplementedError

    def end(self, status: Status) -> None:
        if process_rank() == 0:
            with self.spared():
                self.close(status)

    @contextmanager
    def spared(self) -> Iterator[None]:
        """The block, unless too much has failed; what it raises is a warning, and the training goes on.

        Check `given_up` to save the work of a block in which nothing can come of it.
        """
        try:
            yield
            self.failures = 0
        except Exception as error:
            self.failures += 1
            said = printable(without_secrets(first_line(error)))
            if self.given_up:
                log.warning("%s fails again (%s): nothing more is logged there; the run goes on.", self.service, said)
            elif self.failures == 1:
                log.warning("%s fails (%s): the run goes on without what was to be logged now.", self.service, said)

    @property
    def given_up(self) -> bool:
        return self.failures >= MOST_FAILURES

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        if not self.given_up:
            with self.spared():
                super().log_metrics(dict(metrics), step)  # type: ignore[safe-super]

    def finalize(self, status: str = "success") -> None:
        """Lightning ends each phase and each measurement with this; the run ends with `end`."""


def name_of(run_dir: Path) -> str:
    """The directory's name; of a sweep's job that of the sweep's too."""
    folder = run_dir.resolve()
    return f"{folder.parent.name}/{folder.name}" if (folder / "job.json").exists() else folder.name


def flat_settings(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """By dotted key; lists stay lists."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat_settings(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
