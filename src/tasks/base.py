"""What every task shares: phases of training, frozen modules that stay frozen, schedules, what a checkpoint carries."""

import inspect
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from src.models.backbone import ImageClassifier
from src.models.freeze import set_trainable, trained_modules

CHECKPOINT_KEY = "finetune"


@dataclass(frozen=True)
class Phase:
    """A stretch of training in which the same modules train, with an optimizer and a schedule of its own.

    `train` is as in `trained_modules`. `optimizer` takes the parameters; `scheduler` takes the optimizer, and
    `steps_per_epoch` and `epochs` if it has such parameters. `interval` says whether the schedule moves at each
    optimizer `step` or at each `epoch`.
    """

    train: str
    epochs: int
    optimizer: Callable[..., Optimizer]
    scheduler: Callable[..., LRScheduler | ReduceLROnPlateau]
    interval: str


class FineTuneTask(LightningModule):
    """Base of the tasks: a model that trains in phases.

    Args:
        model: takes uint8 pictures.
        phases: of the training, in order. Empty for a model that is only used.
        monitor: the metric that schedules by plateau watch.
        seed: of everything random on the device, epoch by epoch.
        record: plain data that each checkpoint carries: config, class names, preprocessing, versions.
    """

    def __init__(
        self, model: ImageClassifier, phases: list[Phase], monitor: str, seed: int, record: dict[str, Any]
    ) -> None:
        super().__init__()
        self.model = model
        self.phases = phases
        self.monitor = monitor
        self.seed = seed
        self.record = record
        self.phase_index = 0
        self.phase_start_epoch = 0
        self._frozen: set[str] = set()

    @property
    @abstractmethod
    def metric_names(self) -> list[str]:
        """What can be monitored: every metric that validation logs."""

    @property
    def phase(self) -> Phase:
        return self.phases[self.phase_index]

    @property
    def total_epochs(self) -> int:
        """Of the whole run, as far as the current phase can tell: earlier ones may have been stopped early."""
        return self.phase_start_epoch + sum(phase.epochs for phase in self.phases[self.phase_index :])

    def begin_phase(self, index: int, start_epoch: int) -> None:
        """Freeze and unfreeze for phase `index`, which starts at `start_epoch` of the whole run."""
        self.phase_index, self.phase_start_epoch = index, start_epoch
        trained = trained_modules(self.model.net, self.model.head_name, self.phase.train)
        self._frozen = set_trainable(self.model.net, trained)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Training mode for what trains; frozen modules stay in inference mode, so BatchNorm's statistics stand still.

        Lightning calls this after each validation; nn.Module.train alone would undo the freezing.
        """
        super().train(mode)
        # By name: sync_batchnorm puts other modules in the place of these.
        for name, module in self.model.net.named_modules():
            if name in self._frozen:
                module.training = False
        return self

    # ------------------------------------------------------------------------------------------------- optimization

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = self.phase.optimizer([parameter for parameter in self.parameters() if parameter.requires_grad])
        total_steps, max_epochs = self.trainer.estimated_stepping_batches, self.trainer.max_epochs or 1
        moves_per_epoch = max(1, round(total_steps / max_epochs)) if self.phase.interval == "step" else 1
        times = {"steps_per_epoch": moves_per_epoch, "epochs": self.phase.epochs}
        accepted = inspect.signature(self.phase.scheduler).parameters
        scheduler = self.phase.scheduler(optimizer, **{key: times[key] for key in times if key in accepted})
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": scheduler,
                "interval": self.phase.interval,
                "monitor": self.monitor,
                "name": "lr",
            },
        }

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Lightning moves schedules by epoch after the checkpoint is written, and a resumed run would miss that move.

        So `on_train_epoch_end` does it, which comes before.
        """
        if self.phase.interval == "step":
            scheduler.step()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        self.log("lr", max(group["lr"] for group in optimizer.param_groups))

    def on_train_epoch_start(self) -> None:
        # Dropout and the like follow from the epoch alone: a resumed run draws what the uninterrupted one would have.
        torch.manual_seed(((self.seed + 1) * 1_000_003 + self.current_epoch) * 4099 + self.global_rank)

    def on_train_epoch_end(self) -> None:
        if self.phase.interval == "epoch":
            scheduler = self.lr_schedulers()
            if isinstance(scheduler, ReduceLROnPlateau):
                if (self.current_epoch + 1) % (self.trainer.check_val_every_n_epoch or 1):
                    return  # no new value to look at
                scheduler.step(self.trainer.callback_metrics[self.monitor])
            elif isinstance(scheduler, LRScheduler):
                scheduler.step()

    # -------------------------------------------------------------------------------------------------- checkpoints

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let the callbacks go on in this run's directory, if it was moved since."""
        old = checkpoint[CHECKPOINT_KEY]["config"]["output_dir"]
        checkpoint["callbacks"] = moved(checkpoint["callbacks"], old, self.record["config"]["output_dir"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        progress = {"phase": self.phase_index, "phase_start_epoch": self.phase_start_epoch}
        checkpoint[CHECKPOINT_KEY] = {**self.record, **progress}


def moved(values: Any, old: str, new: str) -> Any:
    """Nested plain data with the folder `old` replaced by `new` in every path below it."""
    if isinstance(values, dict):
        return {moved(key, old, new): moved(value, old, new) for key, value in values.items()}
    if isinstance(values, list):
        return [moved(value, old, new) for value in values]
    if isinstance(values, str) and (values == old or values.startswith(f"{old}/")):
        return new + values.removeprefix(old)
    return values
