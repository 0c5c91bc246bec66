"""Fine-tune a model: fit phase by phase, test the best checkpoint, leave a run directory.

python -m src.train [group=option] [key=value]; --help lists them.
"""

import logging
import sys
from pathlib import Path

from omegaconf import DictConfig

from src.cli.command import Command, importing
from src.cli.options import has_recipe, typed_settings
from src.cli.recipe import require_no_other_recipe
from src.cli.run_dir import require_no_run

log = logging.getLogger(__name__)


def train(cfg: DictConfig) -> float | None:
    """Run the settings; return the monitored metric of the best checkpoint on val, for sweeps."""
    if cfg.resume is None:
        require_no_run(Path(cfg.output_dir))
    if cfg.recipe is not None:
        require_no_other_recipe()
    log.info("Importing torch and lightning ...")
    with importing():
        import torch
        from lightning import seed_everything

        from src.build.advice import advise_recipe
        from src.build.data import build_datamodule
        from src.build.task import build_task
        from src.build.trainer import build_trainer
        from src.choosing.recipe import with_recipe
        from src.runs.opening import open_run
        from src.tasks.lookup import task_class
        from src.tasks.results import measure_and_write
        from src.training.fit import describe, fit_phases, prepare_fit
        from src.training.logged import open_services

    cfg, table = (cfg, None) if cfg.recipe is None else with_recipe(cfg)
    run = open_run(cfg, sys.argv[1:])
    settings = run.settings
    seed_everything(settings.seed, verbose=False)
    torch.set_float32_matmul_precision(settings.matmul_precision)
    datamodule = build_datamodule(settings, run.preprocessing, table)
    datamodule.require_readable()
    task = build_task(task_class(settings.task.name), run, datamodule)
    trainer = build_trainer(run)
    with open_services(trainer, run):
        run.require_same_batches(trainer.world_size)
        datamodule.require_images_for(trainer.world_size)
        describe(task, datamodule.table, trainer)
        px = datamodule.preprocessing.crop_px
        chosen = has_recipe(settings.recipe) or not run.reads_weights
        if not chosen and (advice := advise_recipe(settings, datamodule.table, px)):
            log.info("%s", advice)
        prepare_fit(run, task, datamodule, trainer, typed_settings())
        fit_phases(run, task, datamodule, trainer)
        return measure_and_write(run, task, datamodule, trainer, typed_settings()).get(task.monitor)


main = Command(train, "train").main

if __name__ == "__main__":
    main()
