"""Where a command may write: over its own earlier output, and over other files only with overwrite=true. No torch."""

import json
import mmap
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from src.settings.errors import ConfigError

GENERATOR = '<meta name="generator" content="torchvision-finetune">'  # in the head of every page that is written
IMAGE_SOFTWARE = "torchvision-finetune"  # in the entry `Software` of every PNG and JPEG that is written for people
RESULTS_BEGIN = '{"info": {"contributor": "torchvision-finetune"}'  # of COCO results
BEGINNING = 4096  # bytes that are looked at
# Columns by which csv files of ours are known.
COLUMNS = (
    {"path", "error"}, {"kind", "severity", "path", "other_path"}, {"path", "label", "suggested"},
    {"path", "label", "prediction", "doubt"}, {"rank", "backbone", "score", "tied"},
)  # fmt: skip
LABELS_BEGIN = "# label:color_rgb:parts:actions (torchvision-finetune)"  # of what numbers of masks mean
FACTS = ("format_version", "class_names", "ood_score_p99")  # among what exported files say of themselves
CHOICE = ("ranked_by", "candidates")  # among what choose.json says


def output_file(value: str, setting: str, overwrite: bool, reads: Iterable[str | Path] = ()) -> Path:
    """The file to write: the path `value` of a setting.

    Raises ConfigError if its folder does not exist; if it is a folder, a pipe or a device; if it is one of `reads`, the
    paths that the command reads; or, without `overwrite`, if it is no earlier output.
    """
    file = Path(value).expanduser()
    if file.is_dir():
        raise ConfigError(f"{setting}='{value}' is a folder: give the name of a file.")
    if not file.parent.is_dir():
        raise ConfigError(f"{setting}='{value}': the folder {file.parent} does not exist.")
    require_unread(file, setting, reads)
    require_ours(file, setting, overwrite)
    folder = Path(os.path.realpath(file)).parent  # a link is followed, and the file is made anew beside its old self
    if not os.access(folder, os.W_OK) or (file.exists() and not os.access(file, os.W_OK)):
        raise ConfigError(f"{setting}='{value}' cannot be written: no permission for {folder}.")
    return file


def output_folder(
    value: str, setting: str, files: Iterable[str], overwrite: bool, reads: Iterable[str | Path] = ()
) -> Path:
    """The folder to write `files` to, which need not be there yet; else as `output_file`."""
    folder, reads = Path(value).expanduser(), list(reads)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ConfigError(f"{setting}='{value}': {there} is no folder that can be written to.")
    for name in files:
        require_unread(folder / name, setting, reads)
        require_ours(folder / name, setting, overwrite)
    return folder


def require_unread(file: Path, setting: str, reads: Iterable[str | Path]) -> None:
    for path in reads if file.exists() else ():
        if os.path.exists(path) and file.samefile(path):  # noqa: PTH110
            raise ConfigError(f"{setting}: '{file}' is a file that is read, and would be lost: give another name.")


def require_ours(file: Path, setting: str, overwrite: bool) -> None:
    """Raises ConfigError if something is there that is no file, or, without `overwrite`, not ours to write over."""
    if file.exists() and not file.is_file():
        raise ConfigError(f"{setting}: '{file}' is no regular file and is not written to: give the name of a file.")
    if overwrite or not file.exists():
        return
    if (run := run_of(file)) is not None:
        raise ConfigError(
            f"{setting}: '{file}' is what the training left in {run}. Give another name, or overwrite=true to write "
            "over it."
        )
    if not is_ours(file):
        raise ConfigError(
            f"{setting}: '{file}' is there already and is no earlier output of this command. Give another name, or "
            "overwrite=true to write over it."
        )


def run_of(file: Path) -> Path | None:
    """The directory of the run whose training wrote the file, None if there is none."""
    folder = Path(os.path.realpath(file)).parent
    run = folder.parent
    if folder.name == "report" and ((run / "checkpoints").is_dir() or (run / "metrics.json").is_file()):
        return run
    of_training = file.name in ("metrics.json", "environment.json", "unreadable.csv")
    return folder if of_training and (folder / "checkpoints").is_dir() else None


def is_ours(file: Path) -> bool:
    """Whether a file that exists was written by one of our commands, as far as its contents show, or is empty."""
    try:
        if not file.is_file():  # a pipe is not even opened: that would wait for whoever writes to it
            return False
        with file.open("rb") as stream:
            begin = stream.read(BEGINNING)
        if not begin:
            return True
        if file.suffix == ".onnx":
            # The facts of src.export stand behind the graph, so the end is first.
            with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return all(content.rfind(name.encode()) >= 0 for name in FACTS)
        if file.suffix in (".pt2", ".npz"):
            with zipfile.ZipFile(file) as archive:
                names = set(archive.namelist())
            if file.suffix == ".npz":
                return names == {"path.npy", "embedding.npy"}
            return any(name.endswith("/extra/finetune.json") for name in names)
        if file.suffix == ".json":
            return begin.startswith(RESULTS_BEGIN.encode()) or is_our_json(json.loads(file.read_text(encoding="utf-8")))
        if file.suffix == ".png":
            return b"tEXtSoftware\0" + IMAGE_SOFTWARE.encode() in begin
        if file.suffix == ".jpg":
            return b"Exif\0" in begin and IMAGE_SOFTWARE.encode() + b"\0" in begin
    except (OSError, ValueError, zipfile.BadZipFile, RecursionError):
        return False
    text = begin.decode("utf-8", errors="replace")
    return (
        GENERATOR in text
        or text.startswith(LABELS_BEGIN)
        or any(columns <= set(text.splitlines()[0].split(",")) for columns in COLUMNS)
    )


def is_our_json(values: Any) -> bool:
    """Facts of an exported file, a ranking of networks, or metrics: numbers, or intervals, by split/metric."""
    if not isinstance(values, dict) or not values:
        return False
    told = any(set(keys) <= set(values) for keys in (FACTS, CHOICE))
    return told or all("/" in key and is_measured(value) for key, value in values.items())


def is_measured(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(is_measured(number) for number in value)
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
