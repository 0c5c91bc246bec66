"""What a finished training is worth: val and test metrics of its best weights, and the evidence they follow from."""

from dataclasses import dataclass

import torch
from lightning import Trainer

from src.data.module import ImageDataModule
from src.evaluation.evidence import Evidence
from src.training.best_weights import Measurement, keep_best, load_best, try_soup
from src.training.callbacks.every_batch import find_callback
from src.training.callbacks.progress_bar import ProgressBar
from src.training.callbacks.readable_images import RequireReadableImages
from src.training.callbacks.unreadable_images import UnreadableImages
from src.training.embeddings import EmbeddingCollector, Embeddings
from src.training.evidence import EvidenceCollector
from src.training.task import FineTuneTask


@dataclass(frozen=True)
class Measured:
    """Of the best weights. `splits`: evidence of val and, if it is there, test. `calibration`: what val has taught the
    task. `embeddings`: of val, for TensorBoard; empty where nobody looks at them.
    """

    metrics: dict[str, float]
    splits: list[Evidence]
    calibration: dict[str, float]
    embeddings: Embeddings


def measure_best(task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer, test: bool) -> Measured:
    """Measure the best checkpoint, or its soup, or the last weights if no checkpoint was kept; every process calls it.

    They stay in `task`. What val teaches it, such as a temperature, is put into best.ckpt.
    """
    load_best(task, trainer)
    datamodule.frozen_network = None  # the whole network is measured, on images
    table = datamodule.table
    collector, embeddings = find_callback(trainer, EvidenceCollector), find_callback(trainer, EmbeddingCollector)
    assert collector is not None and embeddings is not None  # src/build/trainer.py adds them

    def measure_val() -> Measurement:
        trainer.validate(task, datamodule=datamodule, verbose=False)
        return task.logged_metrics(), collector.take("val", table)

    metrics, val = try_soup(measure_val(), task, trainer, measure_val)
    calibration = task.calibrate(val) if len(val) else {}
    keep_best(trainer, task.monitor, None, calibration)
    splits = [val]
    if test and "test" in table.splits:
        trainer.test(task, datamodule=datamodule, verbose=False)
        metrics |= task.logged_metrics()
        splits.append(collector.take("test", table))
    for evidence in splits:
        metrics |= {f"{evidence.split}/{name}": value for name, value in further_metrics(task, evidence).items()}
    if "temperature" in calibration:
        metrics["temperature"] = calibration["temperature"]
    return Measured(metrics, splits, calibration, embeddings.take())


def further_metrics(task: FineTuneTask, evidence: Evidence) -> dict[str, float]:
    """Those that are measured of final weights alone; none where too few images can be measured."""
    return task.further_metrics(evidence) if len(evidence) and evidence.measurable else {}


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
    metrics = {name.removeprefix("test/"): value for name, value in task.logged_metrics().items()}
    evidence = collector.take(split, datamodule.table)
    return metrics | further_metrics(task, evidence), evidence
