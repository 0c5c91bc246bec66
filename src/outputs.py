"""Where a command may write: over its own earlier output, and over other files only with overwrite=true. No torch."""

import json
import os
import zipfile
from pathlib import Path

from src.errors import ConfigError

GENERATOR = '<meta name="generator" content="torchvision-finetune">'  # in the head of every page that is written
BEGINNING = 4096  # bytes that are looked at
# Columns by which csv files of ours are known.
COLUMNS = ({"path", "error"}, {"kind", "severity", "path", "other_path"})


def output_file(value: str, setting: str, overwrite: bool, reads: str | None = None) -> Path:
    """The file to write.

    Args:
        value: path, as it was given.
        setting: whose value it is, for messages.
        overwrite: whether files that are no earlier output may be written over.
        reads: a path that the command reads, which must not be written over in any case.

    Raises:
        ConfigError: its folder does not exist; it is a folder; it is what is read; or it is somebody else's file.
    """
    file = Path(value).expanduser()
    if file.is_dir():
        raise ConfigError(f"{setting}='{value}' is a folder: give the name of a file.")
    if not file.parent.is_dir():
        raise ConfigError(f"{setting}='{value}': the folder {file.parent} does not exist.")
    if reads is not None and file.exists() and Path(reads).exists() and file.samefile(reads):
        raise ConfigError(f"{setting}='{value}' is the file that is read, and would be lost: give another name.")
    require_ours(file, setting, overwrite)
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise ConfigError(f"{setting}='{value}' cannot be written: no permission for {file.parent}.")
    return file


def output_folder(value: str, setting: str, files: tuple[str, ...], overwrite: bool) -> Path:
    """The folder to write `files` to, which need not be there yet; else as `output_file`."""
    folder = Path(value).expanduser()
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ConfigError(f"{setting}='{value}': {there} is no folder that can be written to.")
    for name in files:
        require_ours(folder / name, setting, overwrite)
    return folder


def require_ours(file: Path, setting: str, overwrite: bool) -> None:
    if not file.exists() or overwrite or is_ours(file):
        return
    raise ConfigError(
        f"{setting}: '{file}' is there already and is no earlier output of this command. Give another name, or "
        "overwrite=true to write over it."
    )


def is_ours(file: Path) -> bool:
    """Whether a file that exists was written by one of our commands, as far as its beginning shows, or is empty."""
    try:
        with file.open("rb") as stream:
            begin = stream.read(BEGINNING)
        if not file.is_file() or not begin:
            return file.is_file()
        if file.suffix in (".onnx", ".pt2"):
            return is_ours(file.with_suffix(".json"))
        if file.suffix == ".npz":
            with zipfile.ZipFile(file) as archive:
                return set(archive.namelist()) == {"path.npy", "embedding.npy"}
        if file.suffix == ".json":
            values = json.loads(file.read_text(encoding="utf-8"))
            return isinstance(values, dict) and ("format_version" in values or all("/" in key for key in values))
    except (OSError, ValueError, zipfile.BadZipFile, RecursionError):
        return False
    text = begin.decode("utf-8", errors="replace")
    return GENERATOR in text or any(columns <= set(text.splitlines()[0].split(",")) for columns in COLUMNS)
