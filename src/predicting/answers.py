"""What a model says about images, one batch or one image in tiles after the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from src.build.trained_model import TrainedModel
from src.data.dataset import FileBatch, FileDataset, collate_files, on_device
from src.data.decode import UnreadableImage
from src.data.transforms import Transform, evaluation_transform
from src.data.workers import available_workers, begin_worker, workers_that_fit
from src.evaluation.prediction import Prediction
from src.models.by_shape import outputs_by_shape
from src.models.classifier import pooled
from src.models.preprocessing import Preprocessing
from src.predicting.output import MaskFolder, require_confidence, require_use
from src.predicting.results import Result
from src.predicting.tiles import Tiling
from src.settings.errors import ConfigError


@dataclass(frozen=True)
class HowToPredict:
    """The settings of src.predict.

    `abstain_below`: no prediction where the confidence is less; `score_threshold`: of boxes, instead of the model's
    own; `tiling`: of images larger than a tile; `draw`: the folder for images with what is said drawn on them; `masks`:
    the one for masks; `keep_embeddings`: what the head gets, of each image; `batch_size`: None = as many as
    the preprocessing's `usual_batch_size`.
    """

    abstain_below: float | None = None
    score_threshold: float | None = None
    tiling: Tiling | None = None
    draw: Path | None = None
    masks: MaskFolder | None = None
    keep_embeddings: bool = False
    batch_size: int | None = None
    num_workers: int | None = None


class Answers:
    """`embeddings`: what the head got of each image so far, if it is to be kept.

    Raises ConfigError if the model has not what the settings need.
    """

    def __init__(self, model: TrainedModel, how: HowToPredict) -> None:
        prediction = model.task.prediction
        require_confidence(prediction.can_abstain, how.abstain_below)
        tile_px = how.tiling and how.tiling.side_px
        masks = how.masks and how.masks.folder
        require_use(prediction, score_threshold=how.score_threshold, tile_px=tile_px, draw=how.draw, masks=masks)
        if how.keep_embeddings:
            require_vectors(model)
        self.model, self.how = model, how
        self.batch_size = how.batch_size or model.preprocessing.usual_batch_size
        self.embeddings: list[Tensor] = []

    def of(self, folder: Path, paths: list[str]) -> Iterator[Iterator[Result]]:
        """Of all images, in order, as they are asked for; within torch.inference_mode."""
        return self.of_batches(folder, paths) if self.how.tiling is None else self.of_tiles(folder, paths)

    def of_batches(self, folder: Path, paths: list[str]) -> Iterator[Iterator[Result]]:
        task, on_gpu = self.model.task, self.model.device.type == "cuda"
        batches = image_batches(folder, paths, self.model.preprocessing, self.batch_size, self.how.num_workers, on_gpu)
        for batch in batches:
            found: Iterator[Prediction] = iter(())
            if len(batch.images):
                handle = task.watch_features(self.see_features) if self.how.keep_embeddings else None
                outputs = outputs_by_shape(task, on_device(batch.images, self.model.device))
                if handle is not None:
                    handle.remove()
                found = iter(task.predictions(task.placed(outputs, batch.sizes_wh), self.how.score_threshold))
            sizes = iter(batch.sizes_wh.tolist())
            yield (
                Result(path, next(found), tuple(next(sizes))) if error is None else Result(path, error=error)
                for path, error in zip(batch.paths, batch.errors, strict=True)
            )

    def of_tiles(self, folder: Path, paths: list[str]) -> Iterator[Iterator[Result]]:
        """One image after the other, so that no more than one is in memory."""
        transform = evaluation_transform(self.model.preprocessing)
        for path in paths:
            try:
                result = self.of_image_in_tiles(path, folder / path, transform)
            except UnreadableImage as error:
                result = Result(path, error=str(error))
            yield iter([result])

    def of_image_in_tiles(self, path: str, file: Path, transform: Transform) -> Result:
        assert self.how.tiling is not None
        task, device = self.model.task, self.model.device
        image, size_wh, places = self.how.tiling.read(file, transform.needed_px)
        if len(places) == 1:
            outputs = task.placed(task(transform(image)[None].to(device)), torch.tensor([size_wh]))
        else:
            parts = [
                task(torch.stack([transform(image.crop(place)) for place in some]).to(device))
                for some in (places[i : i + self.batch_size] for i in range(0, len(places), self.batch_size))
            ]
            outputs = task.merged(torch.cat(parts), torch.tensor(places))
        return Result(path, next(iter(task.predictions(outputs, self.how.score_threshold))), size_wh)

    def see_features(self, features: Tensor) -> None:
        self.embeddings.append(pooled(features).float().cpu())


def require_vectors(model: TrainedModel) -> None:
    """Raise ConfigError if there is nothing to keep as an embedding."""
    if (handle := model.task.watch_features(lambda _: None)) is None:
        raise ConfigError("embeddings=true: this model makes no single vector of an image. Leave it false.")
    handle.remove()


def image_batches(
    folder: Path, paths: list[str], preprocessing: Preprocessing, batch_size: int, num_workers: int | None, pin: bool
) -> "DataLoader[FileBatch]":
    """Batches as of `collate_files`, in order; with as many workers as there are cores and memory if it is None."""
    workers = available_workers() if num_workers is None else num_workers
    workers = workers_that_fit(workers, 3 * preprocessing.crop_px**2 * batch_size, -(-len(paths) // batch_size))
    return DataLoader(
        FileDataset(folder, paths, evaluation_transform(preprocessing)),  # type: ignore[arg-type]
        batch_size=batch_size,
        num_workers=workers if len(paths) > batch_size else 0,
        collate_fn=collate_files,
        worker_init_fn=begin_worker,
        pin_memory=pin,
    )
