"""Chooses which of many unlabelled images to label next, so that fewer labels are needed than with a random choice.

python -m src.label_next ckpt=<run dir or .ckpt> images=<dir, glob, file or table> [count=50] [output=label_next.csv]
"""

import logging

from omegaconf import DictConfig

from src.cli.command import Command, importing
from src.files.outputs import output_file
from src.settings.errors import ConfigError
from src.settings.plurals import number_of

log = logging.getLogger(__name__)


def label_next(cfg: DictConfig) -> None:
    """Write a row for each chosen image, the least sure first, and a page with them beside it.

    Columns: path, label (empty, for people), prediction, doubt (0..1).
    """
    from src.data.given_images import find_images

    folder, paths = find_images(cfg.images, cfg.root)
    output = output_file(cfg.output, "output", cfg.overwrite, [cfg.images, cfg.ckpt])
    if output.suffix.lower() != ".csv":
        raise ConfigError(f"output='{cfg.output}' is written as a csv file: give a name that ends with .csv.")
    output_file(str(output.with_suffix(".html")), "output", cfg.overwrite)

    with importing():
        from src.build.trained_model import TrainedModel
        from src.predicting.label_choice import LabelChoice, write_choice

    model = TrainedModel.open(cfg.ckpt, cfg.accelerator, cfg.trust)
    choice = LabelChoice(model, cfg.count, cfg.batch_size, cfg.num_workers)
    images = choice.of(folder, paths)
    page = write_choice(output, folder, images, cfg.spreadsheet_safe)
    log.info(
        "%d of %s to label next, %d could not be read: %s, and with the images: %s",
        len(images), number_of(len(paths), "image"), choice.unreadable, output, page,
    )  # fmt: skip


main = Command(label_next, "label_next").main

if __name__ == "__main__":
    main()
