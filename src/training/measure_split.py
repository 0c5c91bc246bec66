"""Metrics of a trained model on one split of some data."""

import torch
from lightning import Trainer

from src.data.module import ImageDataModule
from src.evaluation.evidence import Evidence
from src.training.callbacks.progress_bar import ProgressBar
from src.training.callbacks.readable_images import RequireReadableImages
from src.training.callbacks.unreadable_images import UnreadableImages
from src.training.evidence import EvidenceCollector
from src.training.measure import further_metrics
from src.training.metric_states import scalars
from src.training.task import FineTuneTask


def measure_split(
    task: FineTuneTask, device: torch.device, datamodule: ImageDataModule, split: str
) -> tuple[dict[str, float], Evidence]:
    """The metrics by name, without the split's, and the evidence of each image.

    `split` may be `all`: every image there is.
    """
    collector = EvidenceCollector()
    trainer = Trainer(
        accelerator={"cuda": "gpu"}.get(device.type, device.type),
        devices=1,
        logger=False,
        callbacks=[RequireReadableImages(datamodule.table.root), ProgressBar(), UnreadableImages(), collector],
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.test(task, dataloaders=datamodule.loader(split), verbose=False)
    metrics = {name.removeprefix("test/"): value for name, value in scalars(trainer.callback_metrics).items()}
    evidence = collector.take(split, datamodule.table)
    return metrics | further_metrics(task, evidence), evidence
