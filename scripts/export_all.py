"""Export networks with random weights in both formats, and compare: which of them can be exported.

One classifier of each of torchvision's families, and every detector and segmenter: the heads of ours, and whole ones
of torchvision.

python -m scripts.export_all [backbone or backbone/head ...]      prints the rows of the tables in docs/export.md
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import nn
from torchvision.transforms.functional import pil_to_tensor

from src.build.task import untrained_task
from src.cli.run_dir import register_resolvers
from src.data.formats.digit_images import DIGITS_FILE
from src.export import export
from src.models.detector import DetectorNetwork
from src.models.preprocessing import Preprocessing
from src.models.segmenter import SegmenterNetwork
from src.models.weights import preprocessing_of
from src.models.whole_networks import detector_names, segmenter_names
from src.runs.record import CHECKPOINT_KEY, RunRecord
from src.runs.run import TrainingRun
from src.settings.project import CONF_DIR
from src.settings.schema import register, train_config
from src.tasks.lookup import task_class
from src.training.task import FineTuneTask

FAMILIES = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3",
    "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vit_b_32", "wide_resnet50_2",
)  # fmt: skip


DETECTORS = ("squeezenet1_1/fcos", "squeezenet1_1/retinanet", "squeezenet1_1/faster_rcnn", "swin_t/fcos")
SEGMENTERS = (
    "squeezenet1_1/pyramid", "mobilenet_v3_small/lraspp", "squeezenet1_1/lraspp", "squeezenet1_1/deeplabv3",
    "squeezenet1_1/fcn", "resnet18/pyramid", "resnet18/lraspp", "resnet18/deeplabv3", "resnet18/fcn",
    "mobilenet_v3_small/pyramid", "mobilenet_v3_small/deeplabv3", "mobilenet_v3_small/fcn", "swin_t/pyramid",
    *segmenter_names(),
)  # fmt: skip
SIZES = (
    (160, 120),
    (160, 160),
    (98, 160),
    (160, 38),
    (53, 160),
)  # width and height of images that scores are spread on
CLASSES = [str(digit) for digit in range(10)]
LARGEST_PX = 160  # longer side of what a detector sees; the whole ones of torchvision would take 1,067


def main() -> None:
    register()
    register_resolvers()
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder) / "images")
        for name in sys.argv[1:] or [*FAMILIES, *DETECTORS, *detector_names(), *SEGMENTERS]:
            others = write_detector if "/" in name or name in detector_names() else write_checkpoint
            write = write_segmenter if name in SEGMENTERS else others
            write(name, Path(folder) / "model.ckpt")
            results = [try_export(Path(folder), format) for format in ("onnx", "torch")]
            print(f"| {name} | {' | '.join(results)} |", flush=True)


def write_images(folder: Path) -> None:
    folder.mkdir()
    for i, image in enumerate(digit_images()):
        image.save(folder / f"{i}.png")


def digit_images() -> list[Image.Image]:
    """Four digits, 200 pixels wide."""
    with np.load(DIGITS_FILE) as file:
        digits_NHW = file["images"][:4].astype(np.uint8) * 15
    return [Image.fromarray(digit_HW).convert("RGB").resize((200, 150)) for digit_HW in digits_NHW]


def write_checkpoint(name: str, file: Path) -> None:
    """Of ten classes, for images of the size that the pretrained weights would have."""
    record = record_of(file, preprocessing_of(name, None), f"backbone={name}")
    save(untrained_task(task_class(record.task_name), record), file)


def write_detector(name: str, file: Path, size_px: int = LARGEST_PX, shift: float = -1.0, *overrides: str) -> None:
    """Of ten classes; it finds boxes everywhere, with all kinds of scores, fewer with a lower `shift`."""
    backbone, _, head = name.partition("/")
    preprocessing = preprocessing_of(backbone, None)
    if preprocessing.resize_mode == "stretch":  # SSD
        preprocessing = replace(preprocessing, keeps_shape=True)
    else:
        preprocessing = preprocessing.keeping_shape(size_px, None, "fit")
    chosen = (f"backbone={backbone}", f"head={head or 'torchvision'}", "head.norms=train", *overrides)
    record = record_of(file, preprocessing, "task=detection", *chosen)
    task = untrained_task(task_class(record.task_name), replace(record, network={"max_detections": 100}))
    assert isinstance(task.model, DetectorNetwork)
    scatter_scores(task.model, shift)
    save(task, file)


def write_segmenter(name: str, file: Path, size_px: int = LARGEST_PX, *overrides: str) -> None:
    """Of ten classes, all of which it finds somewhere."""
    backbone, _, head = name.partition("/")
    preprocessing = preprocessing_of(backbone, None).keeping_shape(size_px, None, "fit")
    chosen = (f"backbone={backbone}", f"head={head or 'torchvision_pixels'}", "head.norms=train", *overrides)
    record = record_of(file, preprocessing, "task=segmentation", *chosen)
    task = untrained_task(task_class(record.task_name), record)
    assert isinstance(task.model, SegmenterNetwork)
    scatter_classes(task.model)
    save(task, file)


def record_of(file: Path, preprocessing: Preprocessing, *overrides: str) -> RunRecord:
    torch.manual_seed(0)
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        cfg = hydra.compose("train", [*overrides, "backbone.weights=null", f"output_dir={file.parent}"])
    return TrainingRun(train_config(cfg)).record_of(CLASSES, preprocessing, "")


def save(task: FineTuneTask, file: Path) -> None:
    torch.save({"state_dict": task.state_dict(), CHECKPOINT_KEY: task.record.to_dict()}, file)


def scatter_scores(model: DetectorNetwork, shift: float) -> None:
    """Spread the logits of classes: random weights find nothing, or say the same everywhere."""
    batches = [torch.stack([pil_to_tensor(image.resize(size)) for image in digit_images()]) for size in SIZES]
    net, seen = model.net, {}
    layers = [module for name, module in net.named_modules() if is_class_layer(name, module)]
    for layer in layers:
        seen[layer] = torch.zeros(())
        layer.register_forward_hook(lambda layer, _, out: seen.update({layer: torch.maximum(seen[layer], out.std())}))
    with torch.no_grad():
        settle_norms(model, batches)
        for batch_BCHW in batches:
            model.eval()(batch_BCHW)
        for layer in layers:
            layer._forward_hooks.clear()
            layer.weight.mul_(1.5 / seen[layer])
            layer.bias.fill_(shift)


def scatter_classes(model: SegmenterNetwork) -> None:
    """Spread the logits of each class around 0 over the pixels."""
    batches = [torch.stack([pil_to_tensor(image.resize(size)) for image in digit_images()]) for size in SIZES]
    layers: list[nn.Conv2d] = []
    for module in model.net.classifier.modules():
        if isinstance(module, nn.Conv2d) and module.out_channels == len(CLASSES):
            layers.append(module)
    with torch.no_grad():
        settle_norms(model, batches)
        logits_KP = torch.cat([model.eval()(batch).transpose(0, 1).flatten(1) for batch in batches], dim=1)
        factors_K = 2 / logits_KP.std(dim=1).clamp(min=1e-9)
        for number, layer in enumerate(layers):
            assert layer.bias is not None
            layer.weight.mul_(factors_K[:, None, None, None])
            layer.bias.mul_(factors_K).sub_(logits_KP.mean(dim=1) * factors_K if number == 0 else 0)


def settle_norms(model: nn.Module, batches: list[torch.Tensor]) -> None:
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean of all batches
        norm.reset_running_stats()
    for batch_BCHW in batches:
        model.train()(batch_BCHW)


def is_class_layer(name: str, module: nn.Module) -> bool:
    """The last one in front of the scores of classes."""
    if name.endswith(("cls_logits", "cls_score")):
        return True
    return "classification_head.module_list" in name and isinstance(module, nn.Conv2d) and module.groups == 1


def try_export(folder: Path, format: str) -> str:
    """Seconds, the comparison included, or why it is impossible."""
    settings: dict[str, Any] = {
        "ckpt": str(folder / "model.ckpt"), "tta": None, "format": format, "variants": [],
        "images": str(folder / "images"), "output": str(folder / ("model.onnx" if format == "onnx" else "model.pt2")),
        "test_images": 0, "calibration_images": 1, "latency": False, "trust": False, "overwrite": True,
    }  # fmt: skip
    start = time.perf_counter()
    try:
        export(OmegaConf.create(settings))
    except Exception as error:
        return f"no: {str(error).splitlines()[0]}"
    return f"{time.perf_counter() - start:.0f} s"


if __name__ == "__main__":
    print(__doc__) if "--help" in sys.argv else main()
