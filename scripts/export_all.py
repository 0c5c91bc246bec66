"""Export one network of each of torchvision's families, with random weights, in both formats: which of them can be.

python -m scripts.export_all [backbone ...]      prints the rows of the table in docs/export.md
"""

import sys
import tempfile
import time
from pathlib import Path

import hydra
import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image

from src.build.task import untrained_task
from src.cli.run_dir import register_resolvers
from src.data.formats.digit_images import DIGITS_FILE
from src.export import export
from src.models.weights import preprocessing_of
from src.runs.record import CHECKPOINT_KEY
from src.runs.run import TrainingRun
from src.settings.project import CONF_DIR
from src.settings.schema import register, train_config
from src.tasks.lookup import task_class

FAMILIES = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3",
    "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vit_b_32", "wide_resnet50_2",
)  # fmt: skip


def main() -> None:
    register()
    register_resolvers()
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder) / "images")
        for name in sys.argv[1:] or FAMILIES:
            write_checkpoint(name, Path(folder) / "model.ckpt")
            results = [try_export(Path(folder), format) for format in ("onnx", "torch")]
            print(f"| {name} | {' | '.join(results)} |", flush=True)


def write_images(folder: Path) -> None:
    """Four digits, 200 pixels wide."""
    folder.mkdir()
    with np.load(DIGITS_FILE) as file:
        for i, grey_HW in enumerate(file["images"][:4]):
            Image.fromarray(grey_HW.astype(np.uint8) * 15).resize((200, 150)).save(folder / f"{i}.png")


def write_checkpoint(name: str, file: Path) -> None:
    """Of ten classes, for images of the size that the pretrained weights would have."""
    torch.manual_seed(0)
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        cfg = hydra.compose("train", [f"backbone={name}", "backbone.weights=null", f"output_dir={file.parent}"])
    classes = [str(digit) for digit in range(10)]
    record = TrainingRun(train_config(cfg)).record_of(classes, preprocessing_of(name, None), "")
    weights = untrained_task(task_class(record.task_name), record).state_dict()
    torch.save({"state_dict": weights, CHECKPOINT_KEY: record.to_dict()}, file)


def try_export(folder: Path, format: str) -> str:
    """Seconds, the comparison included, or why it is impossible."""
    settings = {
        "ckpt": str(folder / "model.ckpt"), "format": format, "images": str(folder / "images"), "variants": [],
        "output": str(folder / ("model.onnx" if format == "onnx" else "model.pt2")), "test_images": 0,
        "calibration_images": 1, "latency": False, "trust": False, "overwrite": True,
    }  # fmt: skip
    start = time.perf_counter()
    try:
        export(OmegaConf.create(settings))
    except Exception as error:
        return f"no: {str(error).splitlines()[0]}"
    return f"{time.perf_counter() - start:.0f} s"


if __name__ == "__main__":
    print(__doc__) if "--help" in sys.argv else main()
