"""The training itself: one fit for each phase of the freeze plan."""

from pathlib import Path

from lightning import Callback, Trainer

from src.data.module import ImageDataModule
from src.runs.progress import unfit
from src.runs.run import TrainingRun
from src.settings.errors import ConfigError, first_line
from src.training.callbacks.early_stopping import PhaseEarlyStopping
from src.training.describe import describe_phase
from src.training.scores_task import ScoresTask
from src.training.sharding import ShardedStrategy
from src.training.task import FineTuneTask
from src.training.tuning.learning_rate import find_rate


def fit_phases(run: TrainingRun, task: ScoresTask, datamodule: ImageDataModule, trainer: Trainer) -> None:
    """One Trainer.fit for each phase, on one Trainer, whose epochs and steps run on from phase to phase.

    A run that goes on does so in the phase of its checkpoint, at the epoch after the checkpoint's.
    """
    datamodule.resume_from(run.first_epoch, run.first_batch)
    for index in range(run.first_phase, len(task.phases)):
        start = run.start_epoch(index, trainer.current_epoch)
        task.begin_phase(index, start)
        # Sharded weights compute only where all processes do, and features are made by one for all of them.
        head_alone = task.trains_head_alone and not isinstance(trainer.strategy, ShardedStrategy)
        datamodule.frozen_network = task if head_alone else None
        trainer.should_stop = False
        trainer.fit_loop.max_epochs = run.end_epoch(index, start + task.phase.epochs, find_early_stopping(trainer))
        describe_phase(task, trainer)
        if head_alone:
            datamodule.advise()
        if run.settings.lr_find and run.tries_rate(index) and (rate := find_rate(task, datamodule, trainer)):
            task.set_rate(index, rate)
        fit(task, datamodule, trainer, run.checkpoint_of(index))


def fit(task: FineTuneTask, datamodule: ImageDataModule, trainer: Trainer, checkpoint: Path | None) -> None:
    """The current phase. Raises ConfigError if the checkpoint holds what does not fit the network."""
    try:
        trainer.fit(task, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        if checkpoint is None or task.has_started or isinstance(error, ConfigError):
            raise
        raise unfit(checkpoint, f"what it kept does not fit ({first_line(error)})") from error


def find_early_stopping(trainer: Trainer) -> PhaseEarlyStopping | None:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next((callback for callback in callbacks if isinstance(callback, PhaseEarlyStopping)), None)
