"""Checkpoints as files: written whole or not at all, and read as plain data (torch.load(weights_only=True))."""

import os
import shutil
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins import TorchCheckpointIO
from torch import Tensor

from src.files.whole_files import replaced
from src.runs.record import CHECKPOINT_KEY, RunRecord
from src.settings.checkpoints import unreadable
from src.settings.errors import ConfigError, RunStopped, first_line, was_interrupted

DEEPEST = 40
MOST_NODES = 5_000_000  # values in all: a thousand classes' names are a thousand
LONGEST_INT = 2**63


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, and moves it there when it is complete and on the disk.

    So a file of that name is always a whole checkpoint, the new one or the one before. Lightning's own way holds the
    whole file in memory as well, and writes to the system's folder for temporary files, which may be another disk.

    Args:
        folder: outside which nothing is written or removed; None = anywhere. For resumed runs, since names and folders
            of checkpoints then come from a file.
    """

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        self.folder = None if folder is None else folder.resolve()

    def require_inside(self, path: Any) -> Path:
        file = Path(path)
        if self.folder is not None and not file.resolve().is_relative_to(self.folder):
            raise RunStopped(
                f"The checkpoint '{file}' would lie outside the run's directory {self.folder}, as the resumed "
                "checkpoint's settings want it. If that is right, trust=true allows it."
            )
        return file

    def remove_checkpoint(self, path: Any) -> None:
        """Only a file of that kind, and never a folder."""
        file = self.require_inside(path)
        if file.suffix == ".ckpt" and file.is_file() and not file.is_symlink():
            file.unlink()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        file = self.require_inside(path)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with replaced(file) as part, part.open("wb") as stream:
                torch.save(checkpoint, stream)
                stream.flush()
                os.fsync(stream.fileno())
        except (OSError, RuntimeError, KeyboardInterrupt) as error:  # torch tells of a full disk by a RuntimeError
            if was_interrupted(error):  # and of Ctrl-C while it wrote
                raise KeyboardInterrupt from error
            cause = error if isinstance(error, OSError) else error.__context__
            reason = cause.strerror if isinstance(cause, OSError) else first_line(error)
            free = f", {shutil.disk_usage(file.parent).free / 2**20:.0f} MiB free" if file.parent.is_dir() else ""
            kept = f" The checkpoint before it is unharmed: {file}." if file.is_file() else ""
            raise RunStopped(f"The checkpoint {file} could not be written: {reason}{free}.{kept}") from error


def load_checkpoint(file: Path) -> tuple[dict[str, Any], RunRecord]:
    """The checkpoint as plain data on the CPU, and the record that it carries.

    Raises ConfigError if it is damaged, is not one of this project's, has weights that are not finite, or says
    impossible things of its model.
    """
    checkpoint = read_checkpoint(file)
    record = RunRecord.of(checkpoint, file)
    weights = checkpoint.get("state_dict")
    if not isinstance(weights, dict) or not all(isinstance(v, Tensor) and is_plain_tensor(v) for v in weights.values()):
        raise ConfigError(f"'{file}' holds no weights: its entry 'state_dict' is damaged.")
    for name, value in weights.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ConfigError(
                f"'{file}' cannot be used: its weights {name} are not all finite, so that its answers would be no "
                "numbers either. The training went wrong, or the file is damaged: take another checkpoint."
            )
    return checkpoint, record


def read_checkpoint(file: Path) -> dict[str, Any]:
    """What the file holds, unchecked but for damage: each part of the file has a checksum. Raises ConfigError."""
    require_undamaged(file)
    try:
        checkpoint: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ConfigError(f"'{file}' cannot be read as a checkpoint: {first_line(error)}") from error
    if not isinstance(checkpoint, dict) or CHECKPOINT_KEY not in checkpoint:
        raise ConfigError(f"'{file}' is not a checkpoint of this project: it lacks the entry '{CHECKPOINT_KEY}'.")
    return {**checkpoint, CHECKPOINT_KEY: plain(checkpoint[CHECKPOINT_KEY], file)}


def require_undamaged(file: Path) -> None:
    """Raise ConfigError unless all parts of the file have the checksums that were written with them (CRC32 of zip)."""
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, zlib.error) as error:
        raise unreadable(file, first_line(error)) from error
    if damaged is not None:
        raise ConfigError(
            f"'{file}' is damaged: its part {damaged} is not as it was written. Copy it again from where it is whole, "
            "or take another checkpoint of the run."
        )


def plain(value: Any, file: Path) -> Any:
    """The same with tuples as lists and ordered mappings as plain ones; tensors stay.

    torch's safe loader also returns sets, complex numbers, dtypes and cycles. What looks into mappings and lists for
    something that must not be there would miss it in a tuple, which others take for a list.
    Raises ConfigError for everything else: keys that are no text, objects, cycles, too many or too deeply nested ones.
    """
    left = [MOST_NODES]

    def copied(inner: Any, depth: int) -> Any:
        left[0] -= 1
        if depth > DEEPEST or left[0] < 0:
            raise refused(file, "it is nested too deeply, or has too many values")
        if inner is None or type(inner) in (bool, float, str):
            return inner
        if type(inner) is int:
            if not -LONGEST_INT <= inner < LONGEST_INT:
                raise refused(file, "it has a whole number that is far too large")
            return inner
        if type(inner) in (list, tuple):
            return [copied(one, depth + 1) for one in inner]
        if type(inner) in (dict, OrderedDict):
            if not all(type(key) is str for key in inner):
                raise refused(file, "a mapping in it has keys that are no text")
            return {key: copied(one, depth + 1) for key, one in inner.items()}
        if isinstance(inner, torch.Tensor) and is_plain_tensor(inner):
            return inner
        raise refused(file, f"it holds a {type(inner).__name__}")

    return copied(value, 0)


def is_plain_tensor(value: torch.Tensor) -> bool:
    """Dense numbers in this process's memory."""
    dense = value.layout == torch.strided and not value.is_quantized and not value.is_nested
    return bool(dense and value.device.type == "cpu" and type(value) in (torch.Tensor, torch.nn.Parameter))


def refused(file: Path, why: str) -> ConfigError:
    return ConfigError(f"'{file}' cannot be used: {why}, and checkpoints of this project hold plain data and tensors.")
