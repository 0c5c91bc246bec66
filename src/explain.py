"""Heat maps over images: which places speak for a class, from a checkpoint alone.

python -m src.explain ckpt=<run dir or .ckpt> images=<dir, glob, file or table> [output=explanations] [class_name=...]
"""

import logging
import time

from omegaconf import DictConfig

from src.cli.command import Command, importing
from src.predicting.output import PAGE, TABLE, maps_folder, require_one_read
from src.settings.plurals import number_of

log = logging.getLogger(__name__)


def explain(cfg: DictConfig) -> None:
    """Write a PNG for each image and explained class, and explanations.csv and index.html, which show all of them.

    Columns of explanations.csv: path; prediction and confidence, as src.predict has them (confidence only with one
    class per image); explained, the class or target that the map is for, and its probability; file, the PNG; error. An
    image has a row for each class that is predicted, or for the likeliest if none is; of numbers, for the first target.
    """
    from src.data.given_images import find_images

    folder, paths = find_images(cfg.images, cfg.root)
    output = maps_folder(cfg.output, cfg.overwrite, cfg.images, [folder / path for path in paths], cfg.ckpt)

    with importing():
        from src.build.trained_model import TrainedModel
        from src.predicting.heat_maps import Explainer

    explainer = Explainer(TrainedModel.open(cfg.ckpt, cfg.accelerator, cfg.trust), cfg.class_name)
    start = time.perf_counter()
    explainer.write(output, folder, paths, cfg.batch_size, cfg.spreadsheet_safe)
    seconds, errors = time.perf_counter() - start, explainer.errors
    told = f" All reasons: the column error of {output / TABLE}."
    require_one_read(len(paths), len(errors), next(iter(errors), ""), told)
    images, bad = number_of(len(paths), "image"), len(errors)
    log.info("%s in %.1f s, %d could not be read: %s", images, seconds, bad, output / PAGE)
    if explainer.empty:
        log.warning("%d maps are empty: at the layer that is looked at, nothing speaks for the class.", explainer.empty)


main = Command(explain, "explain").main

if __name__ == "__main__":
    main()
