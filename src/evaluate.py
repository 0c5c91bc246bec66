"""Metrics of a finished run, from its checkpoint alone, on its own data or on other data.

python -m src.evaluate ckpt=<run dir or .ckpt> [split=test] [data=folder] [data.root=<dir>] [report=<dir>]
"""

import logging
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from src.cli.command import Command, importing
from src.files.outputs import output_file, output_folder
from src.files.printable import printable
from src.settings.checkpoints import find_checkpoints
from src.settings.errors import ConfigError
from src.settings.plurals import number_of

log = logging.getLogger(__name__)


def evaluate(cfg: DictConfig) -> float | None:
    """Print the metrics of one split; return the monitored one."""
    if cfg.output is not None:
        output_file(cfg.output, "output", cfg.overwrite, reads=find_checkpoints(cfg.ckpt))
    if cfg.report is not None:
        output_folder(cfg.report, "report", ("index.html", "intervals.json"), cfg.overwrite)
    with importing():
        import torch

        from src.build.data import data_to_evaluate, is_other_data
        from src.build.ensemble import open_model
        from src.build.seen_images import warn_of_seen
        from src.files.whole_files import write_json
        from src.tasks.reporting import write_evaluation
        from src.training.measure import measure_split

    model = open_model(cfg.ckpt, cfg.accelerator, cfg.trust, evaluate=True, tta=cfg.tta)
    changes = cast(dict[str, Any], OmegaConf.to_container(cfg.data, resolve=True))
    datamodule = data_to_evaluate(changes, model.record, cfg.trust)
    splits = datamodule.table.splits
    split = cfg.split or next((name for name in ("test", "val") if name in splits), "all")
    if split not in ("all", *splits):
        raise ConfigError(f"split={split}: these data have no such split. There are: {', '.join(splits)}, all.")
    torch.set_float32_matmul_precision(model.record.setting("matmul_precision"))
    images = len(splits[split]) if split in splits else len(datamodule.table)
    log.info("%s (%s) on %s: %s", model.name, model.backbone, split, number_of(images, "image"))
    warn_of_seen(model, changes, datamodule.table, split)
    metrics, evidence = measure_split(model.task, model.device, datamodule, split)
    for name, value in metrics.items():
        print(f"{split}/{printable(name):18s} {value:.4f}")
    named = {f"{split}/{name}": value for name, value in metrics.items()}
    if cfg.output is not None:
        write_json(Path(cfg.output).expanduser(), named)
        log.info("Written to %s", cfg.output)
    if cfg.report is not None and len(evidence):
        own_data, folder = not is_other_data(changes, model.record), Path(cfg.report).expanduser()
        write_evaluation(folder, model.files, model.task, datamodule.table, evidence, named, own_data)
        log.info("Report: %s", folder / "index.html")
    return metrics.get(model.record.monitor.split("/")[-1])


main = Command(evaluate, "evaluate").main

if __name__ == "__main__":
    main()
