"""Fine-tune a model: fit phase by phase, test the best checkpoint, leave a run directory.

python -m src.train [group=option] [key=value]; --help lists them.
"""

import json
import logging
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf

from src.cli.command import command, importing
from src.settings.errors import ConfigError, first_line
from src.settings.train_schema import TrainConfig
from src.settings.void_settings import void_settings

if TYPE_CHECKING:
    from lightning import Trainer

    from src.data.module import ImageDataModule
    from src.training.scores_task import ScoresTask

log = logging.getLogger(__name__)


def train(cfg: DictConfig) -> float | None:
    """Run the settings; return the monitored metric of the best checkpoint on val, for sweeps."""
    log.info("Importing torch and lightning ...")
    with importing():
        import torch
        from lightning import seed_everything

        from src.build.build import build_callbacks, build_datamodule, build_loggers, build_task, build_trainer
        from src.files.json_files import write_json
        from src.models.preprocessing import Preprocessing
        from src.runs.record import CHECKPOINT_KEY
        from src.runs.resume import compare_data, lengthened, require_same_batches, resumed_settings
        from src.settings.signatures import check_targets
        from src.tasks.reporting import write_run_report, write_tables
        from src.training.measure import measure_best
        from src.training.metric_states import scalars
        from src.training.tuning.batch_size import find_batch_size
        from src.training.tuning.head_start import start_from_pretrained

    checkpoint = checkpoint_file = preprocessing = None
    if cfg.resume is not None and (resumed := resumed_settings(cfg)) is not None:
        cfg, checkpoint_file, checkpoint = resumed
        keep_batch_size(cfg, checkpoint[CHECKPOINT_KEY])
        preprocessing = Preprocessing.from_dict(checkpoint[CHECKPOINT_KEY]["preprocessing"])
    else:
        require_no_run(Path(cfg.output_dir))
    make_paths_absolute(cfg)
    check_targets(cfg)
    for text in void_settings(cast(TrainConfig, OmegaConf.to_object(cfg)), typed_keys()):
        log.warning("%s", text)
    seed_everything(cfg.seed, verbose=False)
    torch.set_float32_matmul_precision(cfg.matmul_precision)

    datamodule = build_datamodule(cfg, preprocessing)
    datamodule.require_readable()
    train_labels = datamodule.table.labels[datamodule.table.splits["train"]]
    fingerprint = datamodule.table.fingerprint()
    if checkpoint is not None:
        compare_data(checkpoint, datamodule.class_names, fingerprint)
    pretrained = checkpoint is None  # a checkpoint brings all weights itself
    task = build_task(cfg, datamodule.class_names, datamodule.preprocessing, fingerprint, train_labels, pretrained)
    own_folder = Path(cfg.output_dir) if checkpoint is not None and not cfg.trust else None
    trainer = build_trainer(cfg, build_callbacks(cfg), build_loggers(cfg), own_folder)
    task.record["run_id"] = uuid.uuid4().hex if checkpoint is None else checkpoint[CHECKPOINT_KEY]["run_id"]
    if checkpoint is not None:
        plan = [phase.epochs for phase in cfg.freeze.phases]
        task.phases = lengthened(task.phases, plan, checkpoint[CHECKPOINT_KEY], cfg.trainer.max_epochs)
        accumulated, processes = cfg.trainer.accumulate_grad_batches, trainer.world_size
        require_same_batches(checkpoint, datamodule.batch_size, accumulated, processes)
    datamodule.require_images_for(trainer.world_size)
    describe(cfg, datamodule, trainer)
    if cfg.batch_size_find and checkpoint is None and not is_dry_run(trainer):
        use_batch_size(cfg, task, datamodule, find_batch_size(task, datamodule, trainer))
    if trainer.is_global_zero and not is_dry_run(trainer):
        write_run_facts(cfg, datamodule, fingerprint, task.record["run_id"])

    before: dict[str, Any] = (
        checkpoint[CHECKPOINT_KEY] if checkpoint is not None else {"fit_seconds": 0.0, "metrics": {}}
    )
    task.start_clock(before["fit_seconds"])
    if cfg.head.get("start") == "pretrained" and checkpoint is None and not is_dry_run(trainer):
        start_from_pretrained(cfg.backbone.name, cfg.backbone.weights, task, datamodule, trainer)
    fit_phases(cfg, task, datamodule, trainer, checkpoint, checkpoint_file)
    # Without an epoch, in a run that had ended when it was resumed, there are no new values.
    last = scalars(trainer.callback_metrics) or before["metrics"]
    metrics: dict[str, Any] = {f"last/{name}": value for name, value in last.items()}
    metrics |= {"epochs": trainer.current_epoch, "steps": trainer.global_step}
    metrics |= {f"lr_find/{name}": rate for name, rate in task.record.get("rates", {}).items()}
    metrics["fit_seconds"] = round(task.fit_seconds, 2)
    if is_dry_run(trainer):
        log.info("fast_dev_run: one batch of train and val went through.")
        return None
    measured = measure_best(task, datamodule, trainer, cfg.test)
    metrics |= measured.metrics
    if trainer.is_global_zero:
        output_dir, table = Path(cfg.output_dir), datamodule.table
        write_tables(output_dir / "report", task, table, measured.splits, trainer, cfg.spreadsheet_safe)
        if trainer.current_epoch == datamodule.resumed_epoch:  # the resumed run had ended: its own facts stay
            kept = {k: v for k, v in read_metrics(cfg).items() if k in ("fit_seconds", "soup_epochs")}
            metrics |= {k: v for k, v in kept.items() if isinstance(v, int | float)}
        write_json(output_dir / "metrics.json", metrics)
        write_run_report(output_dir, task, table, measured, metrics, trainer)
        finish(cfg, metrics, trainer)
        shutil.rmtree(Path(cfg.output_dir) / "checkpoints" / "soup", ignore_errors=True)
    monitored: float | None = metrics.get(cfg.task.monitor)
    return monitored


def fit_phases(
    cfg: DictConfig,
    task: "ScoresTask",
    datamodule: "ImageDataModule",
    trainer: "Trainer",
    checkpoint: dict[str, Any] | None,
    checkpoint_file: Path | None,
) -> None:
    """One Trainer.fit for each phase, on one Trainer, whose epochs and steps run on from phase to phase.

    With a checkpoint the run goes on in the checkpoint's phase, at the epoch after the checkpoint's.
    """
    from src.runs.record import CHECKPOINT_KEY
    from src.runs.resume import find_early_stopping, why_nothing_is_left
    from src.runs.resumed_state import unfit
    from src.training.sharding import ShardedStrategy
    from src.training.tuning.learning_rate import find_rate, restore_rates, use_rate

    first, start_epoch = 0, 0
    if checkpoint is not None:
        progress = checkpoint[CHECKPOINT_KEY]
        first, start_epoch = progress["phase"], progress["phase_start_epoch"]
        restore_rates(task, progress)
        epochs_done = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        datamodule.resume_from(epochs_done, progress["batches_done"])
    for index in range(first, len(task.phases)):
        resuming = checkpoint is not None and index == first
        if not resuming:
            start_epoch = trainer.current_epoch
        task.begin_phase(index, start_epoch)
        # Sharded weights compute only where all processes do, and features are made by one for all of them.
        head_alone = task.trains_head_alone and not isinstance(trainer.strategy, ShardedStrategy)
        datamodule.train_on_features_of(task if head_alone else None)
        trainer.should_stop = False
        if not is_dry_run(trainer):
            trainer.fit_loop.max_epochs = start_epoch + task.phase.epochs
        stopping = find_early_stopping(trainer)
        if (
            resuming
            and checkpoint
            and (ended := why_nothing_is_left(checkpoint, stopping, task.phase.epochs)) is not None
        ):
            log.warning("%s", ended)
            trainer.fit_loop.max_epochs = datamodule.resumed_epoch
        describe_phase(task, trainer)
        if head_alone:
            datamodule.advise()
        if cfg.lr_find and not resuming and not is_dry_run(trainer):  # a resumed phase has its rate
            rate = find_rate(task, datamodule, trainer)
            if rate is not None:
                use_rate(task, rate)
        try:
            trainer.fit(task, datamodule=datamodule, ckpt_path=checkpoint_file if resuming else None, weights_only=True)
        except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
            if resuming and checkpoint_file and not task.has_started and not isinstance(error, ConfigError):
                raise unfit(checkpoint_file, f"what it kept does not fit ({first_line(error)})") from error
            raise


def use_batch_size(cfg: DictConfig, task: "ScoresTask", datamodule: "ImageDataModule", found: int) -> None:
    """In the data, in the run's settings, and in those that its checkpoints carry."""
    from src.training.tuning.batch_size import advise_rate

    times = found / datamodule.batch_size
    datamodule.use_batch_size(found)
    cfg.data.batch_size = task.record["config"]["data"]["batch_size"] = found
    if times != 1 and not cfg.lr_find:
        advise_rate(times)


def keep_batch_size(cfg: DictConfig, checkpoint_record: dict[str, Any]) -> None:
    """A resumed run goes on with the size that was found when it began, whatever its command line says now."""
    kept = checkpoint_record["config"]["data"]["batch_size"]
    if cfg.batch_size_find and cfg.data.batch_size != kept:
        log.info("data.batch_size stays %d, as batch_size_find has found it.", kept)
        cfg.data.batch_size = kept


def require_no_run(output_dir: Path) -> None:
    """Raise ConfigError if the directory holds a run already, which this one would overwrite."""
    if any((output_dir / name).exists() for name in ("metrics.json", "checkpoints/last.ckpt")):
        raise ConfigError(
            f"output_dir='{output_dir}' holds a run already: resume={output_dir} goes on with it (resume=auto too, and "
            "starts a new one where there is none); or give another directory."
        )


def is_dry_run(trainer: "Trainer") -> bool:
    return bool(getattr(trainer, "fast_dev_run", False))


def command_line_changes() -> list[str]:
    from hydra.core.hydra_config import HydraConfig

    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def typed_keys() -> list[str]:
    """Keys of the settings that the command line gives a value."""
    return list(dict.fromkeys(text.lstrip("+").partition("=")[0] for text in command_line_changes()))


# ---------------------------------------------------------------------------------------------------------- what stays


def write_run_facts(cfg: DictConfig, datamodule: "ImageDataModule", fingerprint: str, run_id: str) -> None:
    from src.files.json_files import write_json
    from src.runs.checkpoint import environment

    output_dir = Path(cfg.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True), encoding="utf-8")
    write_json(output_dir / "environment.json", {"run_id": run_id, **environment(fingerprint)})
    datamodule.write_split_csv(output_dir / "split.csv", cfg.spreadsheet_safe)


def read_metrics(cfg: DictConfig) -> dict[str, Any]:
    file = Path(cfg.output_dir) / "metrics.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def finish(cfg: DictConfig, metrics: dict[str, Any], trainer: "Trainer") -> None:
    """The HParams tab, and the last lines of the log."""
    from lightning.pytorch.loggers import TensorBoardLogger

    from src.training.best_weights import find_best

    output_dir = Path(cfg.output_dir)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text("config", f"```yaml\n{OmegaConf.to_yaml(cfg, resolve=True)}\n```")
            compared = {f"{split}/{name}" for split in ("val", "test") for name in ("loss", "acc")} | {cfg.task.monitor}
            final = {f"final/{name}": metrics[name] for name in metrics if name in compared}
            found = {name: rate for name, rate in metrics.items() if name.startswith("lr_find/")}
            logger.log_hyperparams(hyperparameters(cfg) | found, final)
            logger.finalize("success")
    best = "  ".join(f"{name} {metrics[name]:.4f}" for name in metrics if name.startswith(("val/", "test/")))
    kept = find_best(trainer, cfg.task.monitor) is not None
    log.info("%s: %s", "Best checkpoint" if kept else "Last weights", best)
    here = output_dir.relative_to(Path.cwd()) if output_dir.is_relative_to(Path.cwd()) else output_dir
    shown = (output_dir / "report" / "index.html").is_file()  # there is no page of outputs that are not finite
    log.info(
        f"%d epochs in %.0f s. Everything is in %s{'; its report/index.html shows it' if shown else ''}",
        metrics["epochs"],
        metrics["fit_seconds"],
        here,
    )


def hyperparameters(cfg: DictConfig) -> dict[str, Any]:
    """What TensorBoard's HParams tab compares runs by: the usual suspects, and whatever the command line set."""
    values = {
        "backbone": cfg.backbone.name,
        "batch_size": cfg.data.batch_size,
        "epochs": cfg.trainer.max_epochs,
        "freeze": " > ".join(phase.train for phase in cfg.freeze.phases),
        "lr": cfg.optimizer.get("lr"),
        "optimizer": str(cfg.optimizer._target_).rpartition(".")[2],
        "scheduler": str(cfg.scheduler._target_).rpartition(".")[2],
        "seed": cfg.seed,
        "weights": str(cfg.backbone.weights),
    }
    repeated = ("resume", "data.batch_size", "trainer.max_epochs", "optimizer.lr", "backbone.weights", *values)
    for text in command_line_changes():
        key, _, value = text.lstrip("+").partition("=")
        if key not in (*repeated, *PATHS_OF_DATA, "data.cache_dir"):
            values[key] = value
    return {key: value if isinstance(value, bool | int | float) else str(value) for key, value in values.items()}


# --------------------------------------------------------------------------------------------------------------- words


def describe(cfg: DictConfig, datamodule: "ImageDataModule", trainer: "Trainer") -> None:
    import torch

    from src.build.advice import advise_recipe

    table, size = datamodule.table, datamodule.preprocessing.crop_px
    parts = ", ".join(f"{len(table.splits[s]):,} {s}" for s in ("train", "val", "test") if s in table.splits)
    log.info("Data: %s images, %d %s, %d px", parts, len(table.class_names), table.targets.noun, size)
    log.info("%s", table.targets.describe(table.splits["train"]))
    log.info("Model: %s, weights %s", cfg.backbone.name, cfg.backbone.weights or "random")
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    log.info("Device: %d x %s (%s), precision %s", trainer.world_size, device.type, name, trainer.precision)
    if (
        advice := advise_recipe(cast(TrainConfig, OmegaConf.to_object(cfg)), table)
    ) is not None and not chosen_experiment():
        log.info("%s", advice)


def chosen_experiment() -> bool:
    from hydra.core.hydra_config import HydraConfig

    return HydraConfig.initialized() and HydraConfig.get().runtime.choices.get("experiment") is not None


def describe_phase(task: "ScoresTask", trainer: "Trainer") -> None:
    parameters = list(task.model.net.named_parameters())
    total, trained = sum(p.numel() for _, p in parameters), sum(p.numel() for _, p in parameters if p.requires_grad)
    names = [name for name, p in parameters if p.requires_grad]
    blocks = [*task.model.blocks, *task.model.head_names]
    trained_blocks = [block for block in blocks if any(name.startswith(f"{block}.") for name in names)]
    what = f"{trained_blocks[0]} to {trained_blocks[-1]}" if len(trained_blocks) > 1 else trained_blocks[0]
    log.info(
        "Phase %d of %d, epochs %d to %d: trains %s (%d of %d blocks), %.3g M of %.3g M parameters (%.1f %%)",
        task.phase_index + 1, len(task.phases), task.phase_start_epoch + 1, trainer.max_epochs,
        what, len(trained_blocks), len(blocks), trained / 1e6, total / 1e6, 100 * trained / total,
    )  # fmt: skip


PATHS_OF_DATA = ("data.root", "data.file", "data.split_file")


def make_paths_absolute(cfg: DictConfig) -> None:
    """So that the checkpoint's settings mean the same in every working directory."""
    for key in PATHS_OF_DATA:
        if (path := OmegaConf.select(cfg, key)) is not None:
            OmegaConf.update(cfg, key, str(Path(path).expanduser().resolve()))
    cfg.output_dir = str(cfg.output_dir)


main = command("train")(train)

if __name__ == "__main__":
    main()
