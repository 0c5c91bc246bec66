"""Predictions for images, from a checkpoint alone.

python -m src.predict ckpt=<run dir or .ckpt> images=<dir, glob, file or table> [output=x.csv or x.json]
"""

import logging
import time

from omegaconf import DictConfig

from src.cli.command import Command, importing
from src.cli.options import typed_settings
from src.predicting.output import drawn_folder, mask_folder, predictions_file, require_use_of_runs
from src.settings.checkpoints import find_checkpoints

log = logging.getLogger(__name__)


def predict(cfg: DictConfig) -> None:
    """Write a row per image, or per box, in the order of the input; into a .json file COCO results (docs/predict.md).

    The results are written as they come, to `<output>.part`, which becomes `output` when all are there.

    Columns: path, error, and those of the task's prediction (src/tasks/*/prediction.py). An image that cannot be read
    has an error and nothing else; one whose confidence is below `abstain_below` has no prediction. With `embeddings`,
    `<output>.npz` has what the head gets of each readable image: path [N], embedding [N, C]. With `draw`, that folder
    has the images with what is said about their places; with `masks`, that one has a mask for each.
    """
    from src.data.given_images import find_images

    folder, paths = find_images(cfg.images, cfg.root)
    files, checkpoints = [folder / path for path in paths], find_checkpoints(cfg.ckpt)
    reads = [cfg.images, *map(str, checkpoints)]
    output = predictions_file(cfg.output, cfg.overwrite, cfg.embeddings, files, *reads)

    draw = None
    if cfg.draw is not None:
        draw = drawn_folder(cfg.draw, cfg.overwrite, cfg.images, folder, paths, *reads)
    masks = None
    if cfg.masks is not None:
        masks = mask_folder(cfg.masks, cfg.overwrite, cfg.images, files, *reads)
    wanted = {name: cfg[name] for name in ("score_threshold", "tile_px", "draw", "masks")}
    objects = output if output.suffix.lower() == ".json" else None
    require_use_of_runs(checkpoints, cfg.abstain_below, output=objects, **wanted)

    with importing():
        from src.build.ensemble import open_model
        from src.predicting.answers import HowToPredict
        from src.predicting.predictions import Predictor
        from src.predicting.tiles import Tiling

    if cfg.tile_px is None and "tile_overlap" in typed_settings():
        log.warning("tile_overlap has no effect: tile_px=<number> says that images are searched in tiles.")
    tiling = None if cfg.tile_px is None else Tiling(cfg.tile_px, cfg.tile_overlap)
    how = HowToPredict(
        cfg.abstain_below, cfg.score_threshold, tiling, draw, masks, cfg.embeddings, cfg.batch_size, cfg.num_workers
    )
    predictor = Predictor(open_model(cfg.ckpt, cfg.accelerator, cfg.trust, tta=cfg.tta), how)
    start = time.perf_counter()
    predictor.write(output, folder, paths, cfg.spreadsheet_safe)
    predictor.tell(output, len(paths), start)


main = Command(predict, "predict").main

if __name__ == "__main__":
    main()
