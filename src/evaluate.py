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
from src.settings.errors import ConfigError, first_line

if TYPE_CHECKING:
    from src.data.module import ImageDataModule

log = logging.getLogger(__name__)


def evaluate(cfg: DictConfig) -> float | None:
    """Print the metrics of one split; return the monitored one."""
    with importing():
        import torch
        from lightning import Trainer

        from src.files.csv_files import read_csv_file
        from src.files.json_files import write_json
        from src.files.whole_files import made_folder
        from src.reports.run_report import RunReport
        from src.runs.checkpoint import environment
        from src.runs.trained_model import TrainedModel
        from src.tasks.reporting import parameters_of, write_report
        from src.training.callbacks.progress_bar import ProgressBar
        from src.training.callbacks.readable_images import RequireReadableImages
        from src.training.callbacks.unreadable_images import UnreadableImages
        from src.training.evidence import EvidenceCollector
        from src.training.measure import further_metrics
        from src.training.metric_states import scalars

    if cfg.output is not None:
        output_file(cfg.output, "output", cfg.overwrite, reads=[cfg.ckpt])
    if cfg.report is not None:
        output_folder(cfg.report, "report", ("index.html", "intervals.json"), cfg.overwrite)
    model = TrainedModel.open(cfg.ckpt, cfg.accelerator, cfg.trust, evaluate=True)
    file, record, task = model.file, model.record, model.task
    changes = cast(dict[str, Any], OmegaConf.to_container(cfg.data, resolve=True))
    datamodule = data_to_evaluate(changes, record, cfg.trust)
    splits = datamodule.table.splits
    split = cfg.split or next((name for name in ("test", "val") if name in splits), "all")
    if split not in ("all", *splits):
        raise ConfigError(f"split={split}: these data have no such split. There are: {', '.join(splits)}, all.")
    collector = EvidenceCollector()
    trainer = Trainer(
        accelerator={"cuda": "gpu"}.get(model.device.type, model.device.type),
        devices=1,
        logger=False,
        callbacks=[RequireReadableImages(datamodule.table.root), ProgressBar(), UnreadableImages(), collector],
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    torch.set_float32_matmul_precision(record["config"]["matmul_precision"])
    images = len(splits[split]) if split in splits else len(datamodule.table)
    log.info("%s (%s) on %s: %d images", file, record["config"]["backbone"]["name"], split, images)
    trainer.test(task, dataloaders=datamodule.loader(split), verbose=False)
    metrics = {name.removeprefix("test/"): value for name, value in scalars(trainer.callback_metrics).items()}
    evidence = collector.take(split, datamodule.table)
    metrics |= further_metrics(task, evidence)
    for name, value in metrics.items():
        print(f"{split}/{printable(name):18s} {value:.4f}")
    metrics_by_split = {f"{split}/{name}": value for name, value in metrics.items()}
    if cfg.output is not None:
        write_json(Path(cfg.output).expanduser(), metrics_by_split)
        log.info("Written to %s", cfg.output)
    if cfg.report is not None and len(evidence):
        folder, run_dir = Path(cfg.report).expanduser(), resumed_run_dir(file)
        page = RunReport(
            title=f"{run_dir.resolve().name}: {split}",
            table=datamodule.table,
            config=record["config"],
            metrics=metrics_by_split,
            environment=environment(datamodule.table.fingerprint()),
            measured=[evidence],
            parameters=parameters_of(task),
            epochs=read_csv_file(run_dir / "epochs.csv"),
            ckpt=file.resolve(),
            own_data=not is_other_data(changes, record),
        )
        with made_folder(folder):
            write_report(folder, page, task)
        log.info("Report: %s", folder / "index.html")
    return metrics.get(record["config"]["task"]["monitor"].split("/")[-1])


def data_to_evaluate(changes: dict[str, Any], record: dict[str, Any], trust: bool = False) -> "ImageDataModule":
    """The data of the training, with single settings changed, or other data.

    Other data, or the same kind of data in another place, need not have splits nor every class; a class that the model
    does not know is an error.

    Args:
        changes: settings of `data`; with a `_target_` they are those of other data, whole.
        record: of the checkpoint.
        trust: let the checkpoint's own settings download.
    """
    from src.build.build import build_datamodule, no_download
    from src.data.formats.csv_table import CsvDataModule
    from src.models.preprocessing import Preprocessing
    from src.settings.nodes import DataSettings
    from src.settings.rules import wrong_values
    from src.settings.signatures import check_targets
    from src.settings.trust import plain_config

    settings = plain_config(record["config"])
    own = "_target_" not in changes
    other = is_other_data(changes, record)
    if own and not trust:
        settings.data.update(no_download(settings.data))
    settings.data = OmegaConf.merge(settings.data if own else {}, changes)
    check_targets(OmegaConf.create({"data": settings.data}))
    plain = cast(dict[str, Any], OmegaConf.to_container(settings.data, resolve=True))
    if problems := list(wrong_values(DataSettings, plain, "data.")):
        raise ConfigError("\n".join(problems))
    if other:
        # No cutting, and the images as the model was trained on them: the preprocessing holds their final size.
        whole = {"val_fraction": 0.0, "test_fraction": 0.0, "image_size_px": None, "resize_px": None}
        settings.data.update({**whole, "resize_mode": None, "folds": None, "split_file": None})
    if own and "cache" in settings.data:
        settings.data.cache = "none"  # its folder may be another machine's
    for key in PLACES[:2]:
        if (path := settings.data.get(key)) is not None and not Path(path).exists():
            raise ConfigError(
                f"The {'' if other else 'training '}data are not at {path}{'' if other else ' any more'}: name data "
                "with data=folder data.root=<dir>, or data.root=<dir> for data of the same kind."
            )
    preprocessing = Preprocessing.from_dict(record["preprocessing"])
    try:
        datamodule = build_datamodule(settings, preprocessing, record["class_names"])
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError) or not own:
            raise
        raise ConfigError(
            f"The checkpoint's own data settings cannot be used ({first_line(error)}): name data with data=folder "
            "data.root=<dir>."
        ) from error
    if isinstance(datamodule, CsvDataModule):
        datamodule.require_found()
    if not other and datamodule.table.fingerprint() != record["data_fingerprint"]:
        log.warning(
            "The data have changed since the training, and so may the splits have: some of these images may have "
            "been trained on. The run directory's split.csv says which."
        )
    return datamodule


def is_other_data(changes: dict[str, Any], record: dict[str, Any]) -> bool:
    """Whether settings of `data` name other images than those of the training."""
    own = record["config"]["data"]

    def place(value: Any) -> Any:
        return str(Path(value).expanduser().resolve()) if isinstance(value, str) else value

    return "_target_" in changes or any(key in changes and place(changes[key]) != place(own.get(key)) for key in PLACES)


PLACES = ("root", "file", "name")  # settings of data that say which images they are


main = command("evaluate")(evaluate)

if __name__ == "__main__":
    main()
