"""Predictions for images, written as they come. Shapes: B images of a batch, N images, C channels, H and W pixels."""

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from src.build.trained_model import TrainedModel
from src.cli.progress import progress_bar
from src.data.dataset import FileBatch, FileDataset, collate_files, on_device
from src.data.transforms import evaluation_transform
from src.data.workers import available_workers, end_when_a_batch_is_lost, workers_that_fit
from src.evaluation.prediction import Prediction
from src.files.csv_files import CsvWriter
from src.files.whole_files import GrowingFile, replaced
from src.models.classifier import pooled
from src.models.preprocessing import Preprocessing
from src.predicting.output import require_confidence

log = logging.getLogger(__name__)

MORE_THAN_USUAL = 0.05  # of the images above the 99th percentile of val's ood_score


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
        worker_init_fn=end_when_a_batch_is_lost,
        pin_memory=pin,
    )


class Predictor:
    """Writes a row per image, and counts what is told at the end.

    Args:
        abstain_below: no prediction where the confidence is less. Raises ConfigError if the model has none.
        keep_embeddings: what the head gets, of each image.
    """

    def __init__(self, model: TrainedModel, abstain_below: float | None, keep_embeddings: bool) -> None:
        require_confidence(model.task.prediction.can_abstain, abstain_below)
        self.model, self.abstain_below, self.keep_embeddings = model, abstain_below, keep_embeddings
        self.readable: list[str] = []  # paths
        self.embeddings: list[Tensor] = []
        self.unreadable = self.abstained = self.unusual = 0

    def write(self, output: Path, batches: "DataLoader[FileBatch]", images: int, spreadsheet_safe: bool) -> None:
        """To `<output>.part`, which becomes `output` when all rows are there."""
        task = self.model.task
        with GrowingFile(output) as file, torch.inference_mode(), progress_bar() as progress:
            bar = progress.add_task("predict", total=images, speed="", loss="")
            writer = CsvWriter(file, ["path", *task.prediction.columns(task.class_names)], spreadsheet_safe)
            for batch in batches:
                writer.write_all(self.rows(self.predictions(batch), batch.paths, batch.errors))
                file.keep()
                progress.update(bar, advance=len(batch.paths))
        if self.keep_embeddings:
            self.write_embeddings(output.with_suffix(".npz"))

    def predictions(self, batch: FileBatch) -> Sequence[Prediction]:
        if not len(batch.images):
            return []
        task = self.model.task
        handle = task.watch_features(self.see_features) if self.keep_embeddings else None
        outputs = task(on_device(batch.images, self.model.device))
        if handle is not None:
            handle.remove()
        return task.predictions(outputs, batch.sizes_wh)

    def see_features(self, features: Tensor) -> None:
        self.embeddings.append(pooled(features).float().cpu())

    def rows(
        self, predictions: Sequence[Prediction], paths: list[str], errors: list[str | None]
    ) -> Iterator[dict[str, str]]:
        """`predictions` of the images without an error."""
        usual, following = self.model.record.usual_ood_score, iter(predictions)
        for path, reason in zip(paths, errors, strict=True):
            if reason is not None:
                self.unreadable += 1
                yield {"path": path, "error": reason}
                continue
            prediction = next(following)
            answer = prediction.abstaining(self.abstain_below)
            self.readable.append(path)
            self.abstained += answer is not prediction
            score = prediction.ood_score
            self.unusual += score is not None and usual is not None and score > usual
            yield from ({"path": path, **row} for row in answer.rows())

    def tell(self, output: Path, images: int, start: float) -> None:
        """What came of it, since `start`, and what is strange about it."""
        seconds = time.perf_counter() - start
        log.info("%d images in %.1f s, %d could not be read: %s", images, seconds, self.unreadable, output)
        if self.unreadable == images:
            log.warning("There is not one prediction: the column error of %s says why.", output)
        if self.abstain_below is not None:
            log.info("No prediction for %d images: their confidence is below %g.", self.abstained, self.abstain_below)
        if self.unusual > MORE_THAN_USUAL * len(self.readable):
            log.warning(
                "%d of %d images have an ood_score above %.4g, which 1 %% of val had: they may be unlike the training "
                "images, and their predictions of little worth.",
                self.unusual, len(self.readable), self.model.record.usual_ood_score,
            )  # fmt: skip

    def write_embeddings(self, file: Path) -> None:
        """`path` str [N] and `embedding` float32 [N, C], as numpy.load gives them."""
        vectors_NC = torch.cat(self.embeddings).numpy() if self.embeddings else np.empty((0, 0), dtype=np.float32)
        with replaced(file) as part:
            np.savez(part, path=np.array(self.readable), embedding=vectors_NC)
        log.info("Embeddings %d x %d: %s", *vectors_NC.shape, file)
