"""Metrics of a finished run, from its checkpoint alone, on its own data or on other data.

python -m src.evaluate ckpt=<run dir or .ckpt> [split=test] [data=folder data.root=<dir>] [report=<dir>]
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from src.cli import command, importing, resumed_run_dir
from src.errors import ConfigError

if TYPE_CHECKING:
    from src.data.base import ImageDataModule

log = logging.getLogger("src.evaluate")


def evaluate(cfg: DictConfig) -> float | None:
    """Print the metrics of one split; return the monitored one."""
    with importing():
        import torch
        from lightning import Trainer

        from src.build import find_accelerator, load_task
        from src.callbacks import OutputCollector, ProgressBar, UnreadableImages, read_epochs
        from src.checkpoint import environment, find_checkpoint, load_checkpoint
        from src.measure import how_calibrated
        from src.pages.report import write_report
        from src.pages.run import RunReport
        from src.results import finite_outputs, scalars, write_json
        from src.tasks.base import CHECKPOINT_KEY

    if cfg.output is not None and not Path(cfg.output).parent.is_dir():
        raise ConfigError(f"output='{cfg.output}': the folder {Path(cfg.output).parent} does not exist.")
    file = find_checkpoint(cfg.ckpt, "best")
    checkpoint = load_checkpoint(file)
    record = checkpoint[CHECKPOINT_KEY]
    task = load_task(checkpoint, record)
    datamodule = data_to_evaluate(cfg, record)
    splits = datamodule.table.splits
    split = cfg.split or next((name for name in ("test", "val") if name in splits), "all")
    if split not in ("all", *splits):
        raise ConfigError(f"split={split}: these data have no such split. There are: {', '.join(splits)}, all.")
    collector = OutputCollector()
    trainer = Trainer(
        accelerator=find_accelerator(cfg.accelerator),
        devices=1,
        logger=False,
        callbacks=[ProgressBar(), UnreadableImages(), collector],
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    torch.set_float32_matmul_precision(record["config"]["matmul_precision"])
    pictures = len(splits[split]) if split in splits else len(datamodule.table)
    log.info("%s (%s) on %s: %d pictures", file, record["config"]["backbone"]["name"], split, pictures)
    trainer.test(task, dataloaders=datamodule.loader(split), verbose=False)
    metrics = {name.removeprefix("test/"): value for name, value in scalars(trainer.callback_metrics).items()}
    outputs = finite_outputs(split, datamodule.table, *collector.take())
    metrics |= how_calibrated(task, outputs)
    for name, value in metrics.items():
        print(f"{split}/{name:18s} {value:.4f}")
    metrics_by_split = {f"{split}/{name}": value for name, value in metrics.items()}
    if cfg.output is not None:
        write_json(Path(cfg.output), metrics_by_split)
        log.info("Written to %s", cfg.output)
    if cfg.report is not None and len(outputs.rows_N):
        folder, run_dir = Path(cfg.report), resumed_run_dir(file)
        folder.mkdir(parents=True, exist_ok=True)
        page = RunReport(
            title=f"{run_dir.resolve().name}: {split}",
            task=task,
            config=record["config"],
            metrics=metrics_by_split,
            environment=environment(datamodule.table.fingerprint()),
            measured=[outputs],
            epochs=read_epochs(run_dir / "epochs.csv"),
            ckpt=file.resolve(),
            own_data=cfg.data is None,
        )
        write_report(folder, page)
        log.info("Report: %s", folder / "index.html")
    return metrics.get(record["config"]["task"]["monitor"].split("/")[-1])


def data_to_evaluate(cfg: DictConfig, record: dict[str, Any]) -> "ImageDataModule":
    """The data named on the command line, or else those of the training.

    Other data need not have splits nor every class; a class that the model does not know is an error.
    """
    from src.build import build_datamodule
    from src.data.csv_manifest import CsvDataModule
    from src.preprocessing import Preprocessing

    settings = OmegaConf.create(record["config"])
    other = cfg.data is not None
    if other:
        # No cutting, and the pictures as the model was trained on them: the preprocessing holds their final size.
        whole = {"val_fraction": 0.0, "test_fraction": 0.0, "image_size_px": None, "resize_px": None}
        settings.data = OmegaConf.merge(cfg.data, whole, {"folds": None, "split_file": None})
    elif "cache" in settings.data:
        settings.data.cache = "none"  # its folder may be another machine's
    for path in (settings.data.get("root"), settings.data.get("file")):
        if path is not None and not Path(path).exists():
            raise ConfigError(
                f"The training data are not at {path} any more: name data with data=folder data.root=<dir>."
            )
    preprocessing = Preprocessing.from_dict(record["preprocessing"])
    datamodule = build_datamodule(settings, preprocessing, record["class_names"])
    if isinstance(datamodule, CsvDataModule):
        datamodule.require_found()
    if not other and datamodule.table.fingerprint() != record["data_fingerprint"]:
        log.warning(
            "The data have changed since the training, and so may the splits have: some of these pictures may have "
            "been trained on. The run directory's split.csv says which."
        )
    return datamodule


main = command("evaluate")(evaluate)

if __name__ == "__main__":
    main()
