"""How a batch of training images becomes a step of the optimizer, and what is counted and logged of it."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from src.data.dataset import Batch
from src.models.adapted import AdaptedNetwork
from src.runs.record import RunRecord
from src.training.loss_mean import LossMean
from src.training.nonfinite import NonFiniteLosses, TrainingStep
from src.training.phases import TrainingPlan
from src.training.resumable import PREFIX, training_metrics
from src.training.sharding import DistributedModule


class SteppingModule(DistributedModule):
    """Logs `train/loss` and the other metrics whose attributes begin with `train_`; nothing that makes a GPU wait."""

    def __init__(self, model: AdaptedNetwork, plan: TrainingPlan, record: RunRecord) -> None:
        super().__init__(model, plan, record)
        self.nonfinite = NonFiniteLosses(plan.skip_nonfinite)
        self.step: TrainingStep | None = None  # the current one
        self.left_out = False  # its batch
        self.step_loss = torch.zeros(())  # of the last one that counts
        self.train_loss = LossMean()

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Of a training batch. `loss` is minimised, the others are logged as `train/<name>`: of each of these
        `configure_metrics` makes a mean `train_<name>`, so that a resumed run goes on counting.
        """

    def suspects(self, batch: Batch) -> Tensor:
        """bool [B]: which images of this batch, after `losses`, have outputs that are not finite."""
        return torch.zeros(len(batch["index"]), dtype=torch.bool)

    def count_training(self) -> None:
        """Count in the batch that `losses` has just seen; metrics whose attributes begin with `train_` are logged."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        size = len(batch["index"])
        # Where nothing in the batch could be read, the other processes go on, so this one asks whatever they ask.
        nothing = None if size else self.no_loss()
        self.step = TrainingStep(batch, self.losses(batch) if size else {"loss": torch.zeros(())})
        loss = self.step.loss
        if self.nonfinite.skip:  # before there are gradients, which would be added to those of other batches
            self.left_out = self.nonfinite.meet(self, self.step, self.suspects)
        if self.left_out:
            self.step = None
        if not size:
            return nothing
        return self.no_loss() if self.left_out else loss

    def on_after_backward(self) -> None:
        """A GPU has work queued now, and goes on while its loss is looked at and counted in."""
        step, self.step = self.step, None
        if step is None:
            return
        if not self.nonfinite.skip:
            self.nonfinite.meet(self, step, self.suspects)
        if size := len(step.batch["index"]):
            for name, value in step.losses.items():
                getattr(self, f"{PREFIX}{name}").update(value.detach(), size)
            self.count_training()
            self.step_loss = step.loss.detach()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        if self.left_out and self.trainer.accumulate_grad_batches == 1:
            optimizer.zero_grad()  # among several processes there are gradients, of 0, by which momentum would step
        # Lightning's self.log takes its time in each step, also in those that nobody logs.
        if self.trainer.loggers and (self.global_step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            values = {"lr": max(group["lr"] for group in optimizer.param_groups), "epoch": self.current_epoch}
            if not self.left_out:
                values["train/loss_step"] = self.step_loss.item()
            for logger in self.trainer.loggers:
                logger.log_metrics(values, self.global_step)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if batch_idx + 1 == self.trainer.num_training_batches:
            for name, metric in training_metrics(self).items():
                value = f"train/{name.removeprefix(PREFIX)}"
                self.log(value, metric, on_step=False, on_epoch=True, batch_size=len(batch["index"]))
