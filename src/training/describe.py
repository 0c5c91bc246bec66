"""What the log says of a run before and while it trains: data, model, device, and what each phase trains."""

import logging

import torch
from lightning import Trainer

from src.data.table import ImageTable
from src.models.freeze import find_blocks
from src.training.phases import PhasedModule
from src.training.task import FineTuneTask

log = logging.getLogger(__name__)


def describe(task: FineTuneTask, table: ImageTable, trainer: Trainer) -> None:
    record = task.record
    parts = ", ".join(f"{len(table.splits[s]):,} {s}" for s in ("train", "val", "test") if s in table.splits)
    what = "targets" if table.label_kind == "numbers" else "classes"
    log.info("Data: %s images, %d %s, %d px", parts, len(table.class_names), what, record.preprocessing.crop_px)
    log.info("%s", label_summary(table))
    log.info("Model: %s, weights %s", record.backbone_name, record.setting("backbone.weights") or "random")
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    log.info("Device: %d x %s (%s), precision %s", trainer.world_size, device.type, name, trainer.precision)


def label_summary(table: ImageTable) -> str:
    """How many training images each class has, or how the numbers spread."""
    rows = table.splits["train"]
    if table.label_kind == "numbers":
        values = table.labels[rows]
        spans = [f"{name} {values[:, t].min():g} to {values[:, t].max():g}, mean {values[:, t].mean():.4g}"
                 for t, name in enumerate(table.class_names[:10])]  # fmt: skip
        return "Targets in train: " + "; ".join(spans)
    counts_K = table.class_counts(rows)
    by_size = sorted(zip(counts_K.tolist(), table.class_names, strict=True), reverse=True)
    if len(by_size) > 12:
        middle = by_size[len(by_size) // 2][0]
        most, least = by_size[0], by_size[-1]
        return f"Classes in train: {most[1]} {most[0]:,} (most), median {middle:,}, {least[1]} {least[0]:,} (least)"
    return "Classes in train: " + ", ".join(f"{name} {count:,}" for count, name in by_size)


def describe_phase(task: PhasedModule, trainer: Trainer) -> None:
    parameters = list(task.model.net.named_parameters())
    total, trained = sum(p.numel() for _, p in parameters), sum(p.numel() for _, p in parameters if p.requires_grad)
    names = [name for name, p in parameters if p.requires_grad]
    blocks = [*find_blocks(task.model.net, task.model.head_name), task.model.head_name]
    trained_blocks = [block for block in blocks if any(name.startswith(f"{block}.") for name in names)]
    what = f"{trained_blocks[0]} to {trained_blocks[-1]}" if len(trained_blocks) > 1 else trained_blocks[0]
    log.info(
        "Phase %d of %d, epochs %d to %d: trains %s (%d of %d blocks), %.3g M of %.3g M parameters (%.1f %%)",
        task.phase_index + 1, len(task.phases), task.phase_start_epoch + 1, trainer.max_epochs,
        what, len(trained_blocks), len(blocks), trained / 1e6, total / 1e6, 100 * trained / total,
    )  # fmt: skip
