"""The weights in files that other programs wrote: wrapped, with prefixes, of any name; nothing in them is run."""

import argparse
import collections
import pathlib
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from src.files.printable import printable
from src.models.weight_names import current_names, state_dict_in
from src.settings.errors import ConfigError, first_line

_IN_A_RUN = ("checkpoints/best.ckpt", "best.ckpt")


def existing_file(text: str, folders: Iterable[Path]) -> Path | None:
    """The file at this path, or best.ckpt of the run at this path, in the first of these folders that has it.

    Raises ConfigError for a folder that is no run.
    """
    for folder in folders:
        place = folder / Path(text).expanduser()
        if place.is_file():
            return place
        if place.is_dir():
            for name in _IN_A_RUN:
                if (place / name).is_file():
                    return place / name
            raise ConfigError(
                f"backbone.weights='{text}' is a folder without {_IN_A_RUN[0]}: give a run that has ended its first "
                "epoch, or the file itself."
            )
    return None


def read_state_dict(file: Path) -> dict[str, Tensor]:
    """Names and tensors of a .safetensors file, of one that torch.save wrote, or of one of this project's checkpoints.

    Wrappers (`{"state_dict": ...}`, `{"model": ...}`, and others, also one in another) are taken off.
    Raises ConfigError if the file holds something else, or what could run code.
    """
    found = state_dict_in(_read_content(file))
    if found is None:
        raise ConfigError(f"backbone.weights='{file}' holds no state dict (names and tensors).")
    return current_names(found)


def _read_content(file: Path) -> Any:
    try:
        with file.open("rb") as stream:
            start = stream.read(200)
        if reason := _no_weights(start):
            raise ConfigError(f"backbone.weights='{file}' cannot be read: {reason}")
        if start[8:9] == b"{":  # behind the length of its header
            from safetensors.torch import load_file

            return load_file(file)
        with torch.serialization.safe_globals(_plain_data()):
            return torch.load(file, map_location="cpu", weights_only=True)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"backbone.weights='{file}' cannot be read: {_explained(file, error)}") from error


# What lies there instead, by how the file begins.
_OTHERS = {
    (b"version https://git-lfs",): "it is a Git LFS pointer, not the file itself: git lfs pull brings it.",
    (b"<!doctype html", b"<html", b"<?xml"): "it is a web page, as servers send it in place of a file: download the "
    "weights again.",
    (b'{"', b"["): "it is JSON text, not weights: perhaps the list of a model that is kept in several files.",
    (b"\x1f\x8b",): "it is packed with gzip: unpack it first.",
    (b"\x89hdf",): "it is an HDF5 file (Keras, TensorFlow), and weights of torch are needed.",
}


def _no_weights(start: bytes) -> str:
    """What a file that begins like this is instead, or ""."""
    if not start:
        return "it is empty."
    if other := next((what for marks, what in _OTHERS.items() if start.lstrip().lower().startswith(marks)), ""):
        return other
    # safetensors; torch.save, of today and before 2020
    known = start[8:9] == b"{" or start.startswith((b"PK", b"\x80"))
    return "" if known else "it is no file of torch.save or safetensors."


def _explained(file: Path, error: Exception) -> str:
    """The reason in a sentence, with the way out where there is one."""
    names = _foreign_objects(file, str(error))
    script = f'python -c "import torch; m = torch.load({str(file)!r}, weights_only=False); torch.save('
    is_zip = zipfile.is_zipfile(file)
    if is_zip and any(name.endswith("/constants.pkl") for name in zipfile.ZipFile(file).namelist()):
        return (
            'it is a TorchScript program, which would be run. Save its state_dict alone: python -c "import torch; '
            f"torch.save(torch.jit.load({str(file)!r}).state_dict(), 'weights.pth')\""
        )
    if runs := [name for name in names if name.startswith(_RUNNING)]:
        return f"it would call {_shown(runs)} while it is read, which no weights need: do not use this file."
    if any(name.startswith(("torch.nn.modules.", "torchvision.models.", "timm.")) for name in names):
        return (
            f"it is a whole pickled model ({_shown(names)}), and unpickling could run code. Save model.state_dict() "
            f"alone, if you trust where it came from: {script}m.state_dict(), 'weights.pth')\""
        )
    if names:
        return (
            f"beside tensors it holds Python objects ({_shown(names)}), and unpickling them could run code. Save the "
            f"state_dict alone, if you trust where it came from: {script}m['state_dict'], 'weights.pth')\", with the "
            "name under which the file keeps it."
        )
    text = printable(first_line(error))
    if re.search(r"central directory|header|EOF|incomplete|corrupt|unexpected pos|hasRecord", text, re.IGNORECASE):
        return "it is cut short or damaged: download or copy it again."
    if is_zip and "Unsupported operand" in str(error):
        return "it is pickled in a newer way than torch reads safely: save it again without pickle_protocol."
    if isinstance(error, OSError | MemoryError):
        return error.strerror or text if isinstance(error, OSError) else "it does not fit into memory."
    return "it is no file of torch.save or safetensors."


# Modules, and functions of Python, with which a file that is unpickled does what it likes.
_RUNNING = (
    "posix.", "nt.", "os.", "subprocess.", "sys.", "runpy.", "shutil.", "socket.", "importlib.", "webbrowser.",
    "builtins.eval", "builtins.exec", "builtins.getattr", "builtins.__import__", "builtins.compile", "builtins.open",
)  # fmt: skip


def _foreign_objects(file: Path, message: str) -> list[str]:
    """Names of what the file wants to import beyond plain data; empty if that is not what is wrong with it."""
    if "eights only load failed" not in message and "weights_only" not in message:
        return []
    with_names = re.findall(r"(?:GLOBAL|class|global) `?'?([\w.]+\.[\w.]+)", message)
    try:
        with torch.serialization.safe_globals(_plain_data()):
            names = torch.serialization.get_unsafe_globals_in_checkpoint(file) or with_names
    except Exception:  # of the format before 2020, or damaged
        names = with_names
    return sorted(set(names), key=lambda name: (name.startswith("torch."), name))


def _shown(names: list[str]) -> str:
    return printable(", ".join(names[:3])) + (", ..." if len(names) > 3 else "")


class _Ignored:
    """In the place of numpy's values, which no weights need: its own way to read them takes bytes for pointers."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


def _plain_data() -> list[Any]:
    """What checkpoints hold beside tensors and can do no harm: arguments, paths; numbers of numpy are read over.

    Pairs of what is made and the name in the file: paths of the other system become plain paths, and numpy has moved
    its functions between 1 and 2.
    """
    found: list[Any] = [argparse.Namespace, collections.defaultdict, list, dict]
    for module in ("pathlib", "pathlib._local"):
        found += [(pathlib.PurePosixPath, f"{module}.{name}") for name in ("PosixPath", "PurePosixPath")]
        found += [(pathlib.PureWindowsPath, f"{module}.{name}") for name in ("WindowsPath", "PureWindowsPath")]
    found += [(_Ignored, f"numpy.{name}") for name in ("dtype", "ndarray")]
    found += [(_Ignored, f"numpy.dtypes.{name}") for name in dir(np.dtypes) if name.endswith("DType")]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        found += [(_Ignored, f"{module}.{name}") for name in ("scalar", "_reconstruct")]
    return found
