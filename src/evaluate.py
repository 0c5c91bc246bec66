"""Metrics of a finished run, from its checkpoint alone, on its own data or on other data.

python -m src.evaluate ckpt=<run dir or .ckpt> [split=test] [data=folder] [data.root=<dir>] [report=<dir>]
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf

from src.cli.command import command, importing
from src.cli.command_line import resumed_run_dir
from src.files.outputs import output_file, output_folder
from src.files.printable import printable
from src.settings.errors import ConfigError

if TYPE_CHECKING:
    from src.build.trained_model import TrainedModel
    from src.data.table import ImageTable
    from src.evaluation.evidence import Evidence

log = logging.getLogger(__name__)


def evaluate(cfg: DictConfig) -> float | None:
    """Print the metrics of one split; return the monitored one."""
    if cfg.output is not None:
        output_file(cfg.output, "output", cfg.overwrite, reads=[cfg.ckpt])
    if cfg.report is not None:
        output_folder(cfg.report, "report", ("index.html", "intervals.json"), cfg.overwrite)
    with importing():
        import torch

        from src.build.data import data_to_evaluate, is_other_data
        from src.build.trained_model import TrainedModel
        from src.files.whole_files import write_json
        from src.training.measure import measure_split

    model = TrainedModel.open(cfg.ckpt, cfg.accelerator, cfg.trust, evaluate=True)
    changes = cast(dict[str, Any], OmegaConf.to_container(cfg.data, resolve=True))
    datamodule = data_to_evaluate(changes, model.record, cfg.trust)
    splits = datamodule.table.splits
    split = cfg.split or next((name for name in ("test", "val") if name in splits), "all")
    if split not in ("all", *splits):
        raise ConfigError(f"split={split}: these data have no such split. There are: {', '.join(splits)}, all.")
    torch.set_float32_matmul_precision(model.record.setting("matmul_precision"))
    images = len(splits[split]) if split in splits else len(datamodule.table)
    log.info("%s (%s) on %s: %d images", model.file, model.record.backbone_name, split, images)
    metrics, evidence = measure_split(model.task, model.device, datamodule, split)
    for name, value in metrics.items():
        print(f"{split}/{printable(name):18s} {value:.4f}")
    named = {f"{split}/{name}": value for name, value in metrics.items()}
    if cfg.output is not None:
        write_json(Path(cfg.output).expanduser(), named)
        log.info("Written to %s", cfg.output)
    if cfg.report is not None and len(evidence):
        own_data = not is_other_data(changes, model.record)
        write_page(Path(cfg.report).expanduser(), model, datamodule.table, evidence, named, own_data)
    return metrics.get(model.record.monitor.split("/")[-1])


def write_page(
    folder: Path,
    model: "TrainedModel",
    table: "ImageTable",
    evidence: "Evidence",
    metrics: dict[str, float],
    own_data: bool,
) -> None:
    """index.html and intervals.json in the folder `report`."""
    from src.files.csv_files import read_csv_file
    from src.files.whole_files import made_folder
    from src.reports.run_report import RunReport
    from src.runs.environment import environment
    from src.tasks.reporting import parameters_of, write_report

    run_dir = resumed_run_dir(model.file)
    page = RunReport(
        title=f"{run_dir.resolve().name}: {evidence.split}",
        table=table,
        config=model.record.config,
        metrics=metrics,
        environment=environment(table.fingerprint()),
        measured=[evidence],
        parameters=parameters_of(model.task),
        epochs=read_csv_file(run_dir / "epochs.csv"),
        ckpt=model.file.resolve(),
        own_data=own_data,
    )
    with made_folder(folder):
        write_report(folder, page, model.task)
    log.info("Report: %s", folder / "index.html")


main = command("evaluate")(evaluate)

if __name__ == "__main__":
    main()
