"""What the log says of a run before and while it trains: data, model, device, and what each phase trains."""

import logging

import torch
from lightning import Trainer

from src.data.table import ImageTable
from src.training.phases import PhasedModule
from src.training.task import FineTuneTask

log = logging.getLogger(__name__)


def describe(task: FineTuneTask, table: ImageTable, trainer: Trainer) -> None:
    record = task.record
    parts = ", ".join(f"{len(table.splits[s]):,} {s}" for s in ("train", "val", "test") if s in table.splits)
    outputs, size_px = f"{len(table.class_names)} {table.targets.noun}", record.preprocessing.crop_px
    log.info("Data: %s images, %s, %d px", parts, outputs, size_px)
    log.info("%s", table.targets.describe(table.splits["train"]))
    log.info("Model: %s, weights %s", record.backbone_name, record.setting("backbone.weights") or "random")
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    log.info("Device: %d x %s (%s), precision %s", trainer.world_size, device.type, name, trainer.precision)


def describe_phase(task: PhasedModule, trainer: Trainer) -> None:
    parameters = list(task.model.net.named_parameters())
    total, trained = sum(p.numel() for _, p in parameters), sum(p.numel() for _, p in parameters if p.requires_grad)
    names = [name for name, p in parameters if p.requires_grad]
    blocks = [*task.model.blocks, *task.model.head_names]
    trained_blocks = [block for block in blocks if any(name.startswith(f"{block}.") for name in names)]
    what = f"{trained_blocks[0]} to {trained_blocks[-1]}" if len(trained_blocks) > 1 else trained_blocks[0]
    log.info(
        "Phase %d of %d, epochs %d to %d: trains %s (%d of %d blocks), %.3g M of %.3g M parameters (%.1f %%)",
        task.phase_index + 1, len(task.phases), task.phase_start_epoch + 1, trainer.max_epochs,
        what, len(trained_blocks), len(blocks), trained / 1e6, total / 1e6, 100 * trained / total,
    )  # fmt: skip
