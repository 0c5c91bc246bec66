"""Predictions for images, from a checkpoint alone.

python -m src.predict ckpt=<run dir or .ckpt> images=<dir, glob, file or table> [output=predictions.csv]
"""

import time

from omegaconf import DictConfig

from src.cli.command import Command, importing
from src.predicting.output import predictions_file


def predict(cfg: DictConfig) -> None:
    """Write one row per image, in the order of the input.

    The results are written as they come, to `<output>.part`, which becomes `output` when all are there.

    Columns: path, error, and those of the task's prediction (src/tasks/*/prediction.py). An image that cannot be read
    has an error and nothing else; one whose confidence is below `abstain_below` has no prediction. With `embeddings`,
    `<output>.npz` has what the head gets of each readable image: path [N], embedding [N, C].
    """
    from src.data.given_images import find_images

    folder, paths = find_images(cfg.images, cfg.root)
    files = [folder / path for path in paths]
    output = predictions_file(cfg.output, cfg.overwrite, cfg.embeddings, files, cfg.images, cfg.ckpt)

    with importing():
        from src.build.trained_model import TrainedModel
        from src.predicting.predictions import Predictor, image_batches

    model = TrainedModel.open(cfg.ckpt, cfg.accelerator, cfg.trust)
    predictor, start = Predictor(model, cfg.abstain_below, cfg.embeddings), time.perf_counter()
    on_gpu = model.device.type == "cuda"
    batches = image_batches(folder, paths, model.preprocessing, cfg.batch_size, cfg.num_workers, on_gpu)
    predictor.write(output, batches, len(paths), cfg.spreadsheet_safe)
    predictor.tell(output, len(paths), start)


main = Command(predict, "predict").main

if __name__ == "__main__":
    main()
