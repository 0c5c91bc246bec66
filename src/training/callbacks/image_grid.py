"""Training images in the loggers."""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from src.training.logged import log_image, shows_images
from src.training.task import FineTuneTask


class ImageGrid(Callback):
    """Shows the first training images as the network gets them, with their labels, in the loggers."""

    def __init__(self, images: int = 32) -> None:
        self.images = images

    @rank_zero_only
    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int) -> None:
        if i or trainer.current_epoch or not shows_images(trainer):
            return
        assert isinstance(task, FineTuneTask)
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        rows = batch["index"][: self.images].cpu().numpy()
        if "image" in batch:
            images, targets = [image.cpu() for image in batch["image"][: self.images]], list(batch["label"])
        else:  # features: their images have to be read for this, and may not be there any more
            dataset = datamodule.image_dataset(rows, training=True)
            read = [item for item in (dataset[0, n] for n in range(len(rows))) if "image" in item]
            images, targets, rows = ([item[key] for item in read] for key in ("image", "label", "index"))
        texts = [datamodule.table.targets.text(int(row)) for row in rows]
        if texts:
            log_image(trainer, "train/images", lambda: task.draw_training_images(images, targets, texts))
