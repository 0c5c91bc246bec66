"""Running an exported file as a service would."""

import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from src.exporting.archive import FACTS, checked_archive
from src.exporting.operations import UncheckedPart
from src.settings.errors import ConfigError, first_line

# uint8 [N, 3, H, W] -> the file's outputs, float32, in their order
Runner = Callable[[npt.NDArray[np.uint8]], list[npt.NDArray[np.float32]]]


def open_exported(file: Path) -> Runner:
    """onnxruntime on the CPU for an .onnx file, torch for a .pt2 file."""
    if file.suffix == ".onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        return lambda images_NCHW: session.run(None, {"images": images_NCHW})

    program, _ = load_program(file, f"'{file}'")

    def run(images_NCHW: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        with torch.no_grad():
            return [output.numpy() for output in program(torch.from_numpy(images_NCHW))]

    return run


def load_program(file: Path, named: str, trust: bool = False) -> tuple[Callable[..., Any], str]:
    """The network of a .pt2 file on the CPU, and the text of its finetune.json, or "" if it has none.

    What torch gets to see is a copy without anything that could run code; `trust` gives it the file itself.
    Raises ConfigError, with the file as `named`.
    """
    importlib.import_module("torchvision")  # which makes the operations of detectors known to torch
    logging.getLogger("torch.export").setLevel(logging.ERROR)  # it warns with a traceback of what it raises anyway
    try:
        if trust:
            extra_files: dict[str, Any] = {FACTS.partition("/")[2]: ""}
            program = torch.export.load(file, extra_files=extra_files)
            return program.module(), str(*extra_files.values())
        archive, facts = checked_archive(file)
        # Guards are Python source; how large images may be is checked without them.
        return torch.export.load(archive).module(check_guards=False), facts
    except UncheckedPart as part:
        raise ConfigError(
            f"{named} holds {part}. That could run code on this machine, or is unknown here, so it was not loaded; "
            "python -m src.export writes no such file. trust=true loads it all the same: only for files of people whom "
            "you trust."
        ) from part
    except Exception as error:
        raise ConfigError(f"{named} cannot be read by torch.export.load: {first_line(error)[:300]}") from error
