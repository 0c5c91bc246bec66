"""One file that answers as src.predict does, preprocessing included, from a checkpoint.

python -m src.export ckpt=<run dir or .ckpt> format=onnx|torch [output=model.onnx]
"""

import logging

from omegaconf import DictConfig

from src.cli.command import Command, importing
from src.exporting.output import check_variants, find_output, named, require_packages, require_same_facts, unfinished

log = logging.getLogger(__name__)


def export(cfg: DictConfig) -> None:
    """Write the file, compare it with the checkpoint, and leave it only if both answer alike."""
    variants = list(cfg.variants)
    output = find_output(cfg.output, cfg.format, variants, cfg.overwrite)
    check_variants(variants, cfg.format)
    require_packages(cfg.format)

    from src.data.given_images import find_images

    given = None if cfg.images is None else find_images(cfg.images)

    with importing():
        from src.build.ensemble import open_model
        from src.exporting.comparison import Comparison, print_table
        from src.exporting.files import Exporter
        from src.exporting.images import parity_images, run_data, test_images
        from src.exporting.latency import print_latency
        from src.exporting.parity import check_parity
        from src.exporting.run import open_exported

    model = open_model(cfg.ckpt, trust=cfg.trust, evaluate=True, tta=cfg.tta)
    task, preprocessing, data = model.task, model.preprocessing, run_data(model.record)
    images = parity_images(given, data, preprocessing)
    exporter = Exporter(model)
    require_same_facts(output, exporter.facts, variants, cfg.overwrite)
    with unfinished(output, variants) as parts:
        log.info("Exporting %s (%s) to %s", model.name, model.backbone, output)
        exporter.write(parts["fp32"])
        for precision in variants:
            log.info("Making %s", named(output, precision).name)
            exporter.write_variant(precision, parts[precision], parts["fp32"], data, cfg.calibration_images)
        runs = {precision: open_exported(part) for precision, part in parts.items()}
        check_parity(runs["fp32"], task, preprocessing, images, output, exporter.model.takes_one)
        compared = Comparison(task, preprocessing, runs)
        split, measured, labels = test_images(data, preprocessing, cfg.test_images)
        compared.count(measured or images, labels if measured else None)
        print_table(compared, split, model.files, parts)
        if cfg.latency:
            print_latency(exporter.model, runs, preprocessing.resize_px)
    log.info("Written: %s", ", ".join(str(named(output, precision)) for precision in parts))


main = Command(export, "export").main

if __name__ == "__main__":
    main()
