"""Metrics of a trained model on one split of some data."""

from lightning import Trainer
from torch import device as Device

from src.data.module import ImageDataModule
from src.runs.results import SplitOutputs, finite_outputs
from src.training.callbacks.unreadable_images import RequireReadableImages, UnreadableImages
from src.training.callbacks.watching import OutputCollector, ProgressBar
from src.training.measure import how_calibrated
from src.training.metric_states import scalars
from src.training.scores_task import ScoresTask


def measure_split(
    task: ScoresTask, device: Device, datamodule: ImageDataModule, split: str
) -> tuple[dict[str, float], SplitOutputs]:
    """The metrics by name, without the split's, and what the network says about each image.

    `split` may be `all`: every image there is.
    """
    collector = OutputCollector()
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
    outputs = finite_outputs(split, datamodule.table, *collector.take())
    return metrics | how_calibrated(task, outputs), outputs
