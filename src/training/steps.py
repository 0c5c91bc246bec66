"""How a batch of training images becomes a step of the optimizer, and what is counted and logged of it."""

from abc import abstractmethod

import torch
from torch import Tensor
from torch.optim import Optimizer

from src.data.dataset import Batch
from src.models.adapted import AdaptedNetwork
from src.runs.record import RunRecord
from src.training.loss_mean import LossMean
from src.training.nonfinite import BatchLosses, NonFiniteLosses
from src.training.phases import TrainingPlan
from src.training.resumable import PREFIX, training_metrics
from src.training.sharding import DistributedModule


class SteppingModule(DistributedModule):
    """Logs `train/loss` and the other metrics whose attributes begin with `train_`.

    One GPU does not have to wait in a step that logs nothing.
    """

    def __init__(self, model: AdaptedNetwork, plan: TrainingPlan, record: RunRecord) -> None:
        super().__init__(model, plan, record)
        self.nonfinite = NonFiniteLosses(plan.skip_nonfinite)
        self.current: BatchLosses | None = None
        self.left_out = False  # the current batch
        self.step_loss: Tensor | None = None  # of the current batch, if it counts
        self.logged_epoch: tuple[int, int] | None = None  # phase and epoch
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
        self.current = BatchLosses(batch, self.losses(batch) if size else {"loss": torch.zeros(())})
        loss, self.step_loss = self.current.loss, None
        if self.nonfinite.skip:  # before there are gradients, which would be added to those of other batches
            self.left_out = self.nonfinite.meet(self, self.current, self.suspects)
        if self.left_out:
            self.current = None
        if not size:
            return nothing
        return self.no_loss() if self.left_out else loss

    def on_after_backward(self) -> None:
        """A GPU has work queued now, and goes on while its loss is looked at and counted in."""
        current, self.current = self.current, None
        if current is None:
            return
        if not self.nonfinite.skip:
            self.nonfinite.meet(self, current, self.suspects)
        if not (size := len(current.batch["index"])):
            return
        self.step_loss = current.loss.detach()
        for name, value in current.losses.items():
            getattr(self, f"{PREFIX}{name}").update(value.detach(), size)
        self.count_training()
        # Lightning computes them when the epoch ends, and its self.log takes its time in each step.
        if self.logged_epoch != (self.phase_index, self.current_epoch):
            self.logged_epoch = self.phase_index, self.current_epoch
            for name, metric in training_metrics(self).items():
                value_name = f"train/{name.removeprefix(PREFIX)}"
                self.log(value_name, metric, on_step=False, on_epoch=True, batch_size=size)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        if self.left_out and self.trainer.accumulate_grad_batches == 1:
            optimizer.zero_grad()  # among several processes there are gradients, of 0, by which momentum would step
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if self.trainer.loggers and every and (self.global_step + 1) % every == 0:
            values = {"lr": max(group["lr"] for group in optimizer.param_groups), "epoch": self.current_epoch}
            if self.step_loss is not None:
                values["train/loss_step"] = self.step_loss.item()
            for logger in self.trainer.loggers:
                logger.log_metrics(values, self.global_step)
