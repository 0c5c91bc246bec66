"""Running an exported file as a service would."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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

    import torch

    program: Any = torch.export.load(file).module()

    def run(images_NCHW: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        with torch.no_grad():
            return [output.numpy() for output in program(torch.from_numpy(images_NCHW))]

    return run
