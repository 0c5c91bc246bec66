"""Predictions for images, written as they come. Shapes: N images, C channels."""

import logging
import time
from pathlib import Path

import numpy as np
import torch

from src.build.trained_model import TrainedModel
from src.cli.progress import progress_bar
from src.files.whole_files import GrowingFile, made_folder, replaced
from src.predicting.answers import Answers, HowToPredict
from src.predicting.drawing import draw_found, drawn_name, save_mask, write_labels
from src.predicting.output import LABELS, require_use
from src.predicting.results import Result, results_writer
from src.settings.plurals import number_of

log = logging.getLogger(__name__)

MORE_THAN_USUAL = 0.05  # of the images above the 99th percentile of val's ood_score


class Predictor:
    """Writes what is said about each image, and counts what is told at the end.

    Raises ConfigError if the model has not what the settings need.
    """

    def __init__(self, model: TrainedModel, how: HowToPredict) -> None:
        self.model, self.how, self.answers = model, how, Answers(model, how)
        self.readable: list[str] = []  # paths
        self.unreadable = self.abstained = self.unusual = self.found = 0

    def write(self, output: Path, folder: Path, paths: list[str], spreadsheet_safe: bool) -> None:
        """To `<output>.part`, which becomes `output` when all images are done."""
        task = self.model.task
        require_use(task.prediction, output=output if output.suffix.lower() == ".json" else None)
        with (
            GrowingFile(output) as file,
            made_folder(self.how.draw or output.parent),
            made_folder(self.how.masks.folder if self.how.masks else output.parent),
            torch.inference_mode(),
            progress_bar() as progress,
        ):
            bar = progress.add_task("predict", total=len(paths), speed="", loss="")
            writer = results_writer(file, output, task.prediction, task.class_names, spreadsheet_safe)
            number = 0
            for results in self.answers.of(folder, paths):
                for result in results:
                    number += 1
                    writer.write(self.counted(result))
                    self.draw(number, folder, result)
                    progress.update(bar, advance=1)
                file.keep()
            writer.end()
        if self.how.masks is not None:
            write_labels(self.how.masks.folder / LABELS, task.prediction.mask_labels(task.class_names))
        if self.how.keep_embeddings:
            self.write_embeddings(output.with_suffix(".npz"))

    def counted(self, result: Result) -> Result:
        """With the answer that is given."""
        prediction, usual = result.prediction, self.model.record.usual_ood_score
        if prediction is None:
            self.unreadable += 1
            return result
        answer = prediction.abstaining(self.how.abstain_below)
        self.readable.append(result.path)
        self.abstained += answer is not prediction
        self.found += not prediction.is_empty
        score = prediction.ood_score
        self.unusual += score is not None and usual is not None and score > usual
        return result._replace(prediction=answer)

    def draw(self, number: int, folder: Path, result: Result) -> None:
        """And write its mask, as far as that is wanted."""
        if result.prediction is None:
            return
        if self.how.draw is not None:
            draw_found(folder / result.path, result.prediction, self.how.draw / drawn_name(number, result.path))
        if self.how.masks is not None:
            save_mask(result.prediction, self.how.masks.folder / self.how.masks.names[number - 1])

    def tell(self, output: Path, images: int, start: float) -> None:
        """What came of it, since `start`, and what is strange about it."""
        seconds = time.perf_counter() - start
        what = number_of(images, "image")
        log.info("%s in %.1f s, %d could not be read: %s", what, seconds, self.unreadable, output)
        if self.unreadable == images:
            log.warning("There is not one prediction: the column error of %s says why.", output)
        elif not self.found:
            log.warning("%s", self.model.task.prediction.nothing_found)
        if self.how.abstain_below is not None:
            without = number_of(self.abstained, "image: its", "images: their")
            log.info("No prediction for %s confidence is below %g.", without, self.how.abstain_below)
        if self.unusual > MORE_THAN_USUAL * len(self.readable):
            log.warning(
                "An ood_score above %.4g, as 1 %% of val had: %d of %s, which may be unlike the training images, so "
                "that predictions of them are of little worth.",
                self.model.record.usual_ood_score, self.unusual, number_of(len(self.readable), "image"),
            )  # fmt: skip

    def write_embeddings(self, file: Path) -> None:
        """`path` str [N] and `embedding` float32 [N, C], as numpy.load gives them."""
        vectors_NC = (
            torch.cat(self.answers.embeddings).numpy()
            if self.answers.embeddings
            else np.empty((0, 0), dtype=np.float32)
        )
        with replaced(file) as part:
            np.savez(part, path=np.array(self.readable), embedding=vectors_NC)
        log.info("Embeddings %d x %d: %s", *vectors_NC.shape, file)
