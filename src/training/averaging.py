"""Averages of weights: over the steps of a run (EMA), and over the best of its epochs (soup)."""

from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from src.runs.checkpoint import read_checkpoint
from src.runs.record import TRAINED_WEIGHTS_KEY
from src.training.callbacks.best_checkpoint import BestCheckpoint

StateDict = dict[str, Tensor]


class MovingAverage(Callback):
    """Keeps an exponential moving average of the network's weights; validation and checkpoints get the average.

    After t steps it forgets by min(decay, (1 + t) / (10 + t)) a step, as in TensorFlow's and timm's averages, so that
    it is of use from the first epoch on and never holds the weights from before the training for long. BatchNorm's
    statistics are averaged along. A checkpoint holds the average where every reader looks for the weights, and the
    weights that train under a key of their own, for resuming.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.average: StateDict = {}
        self.trained: StateDict = {}  # the weights that train, while the average is in their place

    def on_train_start(self, trainer: Trainer, task: LightningModule) -> None:
        if not self.average:
            self.average = copy_of(task)
        self.average = {name: value.to(task.device) for name, value in self.average.items()}
        # What is frozen in this phase stays equal to its average by itself.
        moving = [name for name, parameter in task.named_parameters() if parameter.requires_grad]
        moving += [name for name, _ in task.named_buffers()]
        self.moving = [name for name in moving if name in self.average]
        self.last_step = trainer.global_step

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, task: LightningModule, outputs: Any, batch: Any, i: int) -> None:
        if trainer.global_step == self.last_step:
            return  # gradients are being accumulated
        self.last_step = trainer.global_step
        self.steps += 1
        kept = min(self.decay, (1 + self.steps) / (10 + self.steps))
        current = task.state_dict()
        numbers = [name for name in self.moving if current[name].is_floating_point()]
        torch._foreach_lerp_([self.average[name] for name in numbers], [current[name] for name in numbers], 1 - kept)
        for name in set(self.moving) - set(numbers):
            self.average[name].copy_(current[name])

    def on_validation_start(self, trainer: Trainer, task: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and self.average:
            self.trained = copy_of(task)
            task.load_state_dict(self.average, strict=False)

    def on_validation_end(self, trainer: Trainer, task: LightningModule) -> None:
        if self.trained:
            # What validation itself learnt, such as thresholds, stays; it is no part of the network.
            task.load_state_dict(self.trained, strict=False)
            self.trained = {}

    def on_save_checkpoint(self, trainer: Trainer, task: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[TRAINED_WEIGHTS_KEY] = self.trained or copy_of(task)
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **self.average}

    def on_load_checkpoint(self, trainer: Trainer, task: LightningModule, checkpoint: dict[str, Any]) -> None:
        trained = checkpoint[TRAINED_WEIGHTS_KEY]
        self.average = {name: checkpoint["state_dict"][name].clone() for name in trained}
        task.load_state_dict(trained, strict=False)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps = state_dict["steps"]


def copy_of(task: LightningModule) -> StateDict:
    """The network's weights and statistics."""
    return {name: value.detach().clone() for name, value in task.state_dict().items() if name.startswith("model.")}


def average_of(files: list[Path]) -> StateDict:
    """Mean of the weights of several checkpoints: a uniform soup (Wortsman et al. 2022, arXiv 2203.05482)."""
    first = read_checkpoint(files[0])["state_dict"]
    sums = {name: value.double() for name, value in first.items() if value.is_floating_point()}
    for file in files[1:]:
        state = read_checkpoint(file)["state_dict"]
        for name in sums:
            sums[name] += state[name]
    return {name: (sums[name] / len(files)).to(v.dtype) if name in sums else v for name, v in first.items()}


class SoupCheckpoint(BestCheckpoint):
    """Keeps the checkpoints of the best epochs until the run has ended."""

    def files(self) -> list[Path]:
        """Those there are, best first."""
        scores = {path: float(score) for path, score in self.best_k_models.items()}
        best_first = sorted(scores, key=lambda path: scores[path], reverse=self.mode == "max")
        return [Path(path) for path in best_first if Path(path).is_file()]
