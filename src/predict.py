"""Predictions for images, from a checkpoint alone.

python -m src.predict ckpt=<run dir or .ckpt> images=<dir, glob, file or table> [output=predictions.csv]
"""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from src.cli.command import command, importing
from src.files.csv_files import CsvWriter
from src.files.outputs import output_file
from src.files.whole_files import GrowingFile, part_of, replaced
from src.settings.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from src.training.scores_task import ScoresTask

log = logging.getLogger(__name__)


def predict(cfg: DictConfig) -> None:
    """Write one row per image, in the order of the input.

    The results are written as they come, to `<output>.part`, which becomes `output` when all are there.

    Columns: path, the task's answer (classification: prediction and confidence, its probability 0..1; multilabel:
    prediction, with ; between the classes; regression: a number for each target), ood_score (of classes: the higher,
    the less the image looks like those of the training), error, and `prob:<class>` for each class. An image that
    cannot be read has an error and nothing else; one whose confidence is below `abstain_below` has no prediction.
    With `embeddings`, `<output>.npz` has what the head gets of each readable image: path [N], embedding [N, C].
    """
    from src.data.given_images import find_images

    folder, paths = find_images(cfg.images, cfg.root)
    output = find_output(cfg, [cfg.images, *(folder / path for path in paths if same_name(path, cfg.output))])

    with importing():
        import torch
        from torch.utils.data import DataLoader

        from src.build.trained_model import TrainedModel
        from src.cli.progress import progress_bar
        from src.data.image_files import FileDataset, collate_files
        from src.data.transforms import evaluation_transform
        from src.data.workers import available_workers, end_when_a_batch_is_lost, workers_that_fit

    model = TrainedModel.open(cfg.ckpt, cfg.accelerator, cfg.trust)
    task, device = model.task, model.device
    if cfg.abstain_below is not None and "confidence" not in task.answer_columns:
        raise ConfigError(
            f"abstain_below={cfg.abstain_below:g} compares the confidence of one class per image, and this model "
            "answers otherwise: leave it null."
        )
    transform = evaluation_transform(model.preprocessing)
    workers = available_workers() if cfg.num_workers is None else cfg.num_workers
    batch_bytes = 3 * model.preprocessing.crop_px**2 * cfg.batch_size
    workers = workers_that_fit(workers, batch_bytes, -(-len(paths) // cfg.batch_size))
    loader = DataLoader(
        FileDataset(folder, paths, transform),
        batch_size=cfg.batch_size,
        num_workers=workers if len(paths) > cfg.batch_size else 0,
        collate_fn=collate_files,
        worker_init_fn=end_when_a_batch_is_lost,
        pin_memory=device.type == "cuda",
    )
    start, errors, abstained, strange = time.perf_counter(), 0, 0, 0
    usual = model.record.usual_ood_score
    kept_paths: list[str] = []
    kept_embeddings: list[torch.Tensor] = []
    with GrowingFile(output) as file, torch.inference_mode(), progress_bar() as progress:
        bar = progress.add_task("predict", total=len(paths), speed="", loss="")
        ood = ["ood_score"] if task.probability_columns else []
        answers_columns = [unlike_ours(name) for name in task.answer_columns]
        columns = ["path", *answers_columns, *ood, "error", *task.probability_columns]
        writer = CsvWriter(file, columns, cfg.spreadsheet_safe)
        for images_BCHW, batch_paths, batch_errors in loader:
            answers: Iterator[dict[str, str]] = iter(())
            if len(images_BCHW):
                outputs_BK, embeddings_BC = task.model.outputs_and_embeddings(images_BCHW.to(device))
                answers = iter(named_answers(task, outputs_BK))
                strange += int((task.ood_scores(outputs_BK) > usual).sum()) if usual is not None else 0
                if cfg.embeddings:
                    kept_embeddings.append(embeddings_BC.float().cpu())
            for path, reason in zip(batch_paths, batch_errors, strict=True):
                if reason is not None:
                    errors += 1
                    writer.write({"path": path, "error": reason})
                    continue
                answer = next(answers)
                kept_paths.append(path)
                if cfg.abstain_below is not None and float(answer["confidence"]) < cfg.abstain_below:
                    abstained += 1
                    answer["prediction"] = ""
                writer.write({"path": path, **answer})
            file.keep()
            progress.update(bar, advance=len(batch_paths))
        if cfg.embeddings:
            write_embeddings(output.with_suffix(".npz"), kept_paths, kept_embeddings)
    seconds = time.perf_counter() - start
    log.info("%d images in %.1f s, %d could not be read: %s", len(paths), seconds, errors, output)
    if errors == len(paths):
        log.warning("There is not one prediction: the column error of %s says why.", output)
    if cfg.abstain_below is not None:
        log.info("No prediction for %d images: their confidence is below %g.", abstained, cfg.abstain_below)
    if strange > MORE_THAN_USUAL * len(kept_paths):
        log.warning(
            "%d of %d images have an ood_score above %.4g, which 1 %% of val had: they may be unlike the training "
            "images, and their predictions of little worth.", strange, len(kept_paths), usual,
        )  # fmt: skip


MORE_THAN_USUAL = 0.05  # of the images above the 99th percentile of val's ood_score


def find_output(cfg: DictConfig, reads: list[str | Path]) -> Path:
    """The csv file to write. Raises ConfigError if it, or another file that goes beside it, cannot be."""
    output = output_file(cfg.output, "output", cfg.overwrite, [*reads, cfg.ckpt])
    output_file(str(part_of(output)), "output", cfg.overwrite, [*reads, cfg.ckpt])
    if not cfg.embeddings:
        return output
    if output.suffix.lower() == ".npz":
        raise ConfigError(
            f"output='{cfg.output}' would be the name of the embeddings too: with embeddings=true give the csv file's "
            f"name, such as {output.with_suffix('.csv')}."
        )
    output_file(str(output.with_suffix(".npz")), "output", cfg.overwrite, [*reads, cfg.ckpt])
    return output


def same_name(path: str, other: str) -> bool:
    return Path(path).name == Path(other).name


def named_answers(task: "ScoresTask", outputs_BK: "Tensor") -> list[dict[str, str]]:
    """For each image its columns of the csv file, but for path and error."""
    columns = [*map(unlike_ours, task.answer_columns), *task.probability_columns]
    scores = [f"{score:.4f}" for score in task.ood_scores(outputs_BK).tolist()]
    answers = [dict(zip(columns, [*answer, *shares], strict=True)) for answer, shares in task.rows(outputs_BK)]
    if not scores:
        return answers
    return [{**answer, "ood_score": score} for answer, score in zip(answers, scores, strict=True)]


def unlike_ours(target: str) -> str:
    """The column of an answer: a regression's target may be called as another column is."""
    return f"predicted:{target}" if target in ("path", "ood_score", "error") else target


def write_embeddings(file: Path, paths: list[str], embeddings: "list[Tensor]") -> None:
    """`path` str [N] and `embedding` float32 [N, C], as numpy.load gives them."""
    import numpy as np
    import torch

    vectors_NC = torch.cat(embeddings).numpy() if embeddings else np.empty((0, 0), dtype=np.float32)
    with replaced(file) as part:
        np.savez(part, path=np.array(paths), embedding=vectors_NC)
    log.info("Embeddings %d x %d: %s", *vectors_NC.shape, file)


main = command("predict")(predict)

if __name__ == "__main__":
    main()
