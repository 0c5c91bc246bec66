"""A loss that is not finite: which images it were, and whether the run goes on."""

import logging
from collections.abc import Callable
from pathlib import Path

import torch
from lightning import LightningModule
from torch import Tensor
from torch.distributed.tensor import DTensor

from src.data.dataset import Batch
from src.data.table import ImageTable
from src.data.targets import Rows
from src.settings.errors import RunStopped

log = logging.getLogger(__name__)

MAX_NAMES = 20  # of images in a message
MAX_SKIPPED = 20  # batches in a row


class BatchLosses:
    """A batch and its losses, of which `loss` is minimised."""

    def __init__(self, batch: Batch, losses: dict[str, Tensor]) -> None:
        self.batch, self.losses = batch, losses
        self.finite, self.copied = self.loss.detach().isfinite(), None
        if self.loss.is_cuda:
            # To look at the loss later would wait for all that is queued by then: the whole backward pass.
            self.finite = self.finite.to("cpu", non_blocking=True)
            self.copied = torch.cuda.current_stream(self.loss.device).record_event()

    @property
    def loss(self) -> Tensor:
        return self.losses["loss"]

    def has_finite_loss(self) -> bool:
        """Waits for the forward pass alone."""
        if self.copied is not None:
            self.copied.synchronize()
        return bool(self.finite)


class NonFiniteLosses:
    """Tells which batches are left out (`skip`, instead of ending the run), and counts those in a row."""

    def __init__(self, skip: bool) -> None:
        self.skip = skip
        self.in_a_row = 0

    def meet(self, task: LightningModule, current: BatchLosses, suspects: Callable[[Batch], Tensor]) -> bool:
        """Whether the batch has to be left out: its loss is not finite on some process; a warning names the images.

        `suspects` tells which images of the batch have outputs that are not finite, bool [B]. Raises RunStopped, with
        the state before the optimizer's step saved, unless such batches are left out.
        """
        strategy = task.trainer.strategy  # what the processes decide together, all of them have to ask it
        if not strategy.reduce_boolean_decision(not current.has_finite_loss(), all=False):
            self.in_a_row = 0
            return False
        with task.trainer.precision_plugin.forward_context():  # as precise as the losses were
            bad_B = suspects(current.batch)
        text = described(task, current.batch, bad_B, current.loss)
        parts = [p.to_local() if isinstance(p, DTensor) else p for p in task.parameters()]
        healthy = strategy.reduce_boolean_decision(all(bool(part.isfinite().all()) for part in parts), all=True)
        self.in_a_row += 1
        if self.skip and healthy and self.in_a_row <= MAX_SKIPPED:
            log.warning("Batch left out. %s", text)
            return True
        state = Path(task.trainer.default_root_dir) / "checkpoints" / "nonfinite.ckpt"
        if healthy:
            task.trainer.save_checkpoint(state)
            text += (
                f"\nThe state before this step is in {state}. Often the rate is too high (optimizer.lr), a step too "
                "long (trainer.gradient_clip_val=1), float16 too narrow (trainer.precision=bf16-mixed or 32-true) or a "
                "label not finite; on_nonfinite_loss=skip leaves such batches out."
            )
        else:
            text += (
                "\nThe weights are not finite any more, since an earlier step: the gradients overflowed. Lower "
                "optimizer.lr, or set trainer.gradient_clip_val=1. The checkpoints of earlier epochs are unharmed."
            )
        raise RunStopped(text)


def described(task: LightningModule, batch: Batch, bad_B: Tensor, loss: Tensor) -> str:
    """Where it happened, and with which images."""
    table = task.trainer.datamodule.table  # type: ignore[attr-defined]
    rows_B = batch["index"][bad_B if bad_B.any() else ...].cpu().numpy()
    what = "Images whose outputs are not finite" if bad_B.any() else "Its images"
    if loss.isfinite():
        what = "The process on which it happened names its images. Here they were"
    return (
        f"The loss is {'not finite' if loss.isfinite() else f'{loss.item():g}'} in epoch {task.current_epoch + 1}, "
        f"step {task.global_step + 1}. {what}:{listed(table, rows_B)}"
    )


def listed(table: ImageTable, rows_B: Rows) -> str:
    """A line for each of the first of these images, and one that counts the others."""
    names = [f"\n  {table.paths[row]}" for row in rows_B[:MAX_NAMES]]
    more = f"\n  ... {len(rows_B) - MAX_NAMES} more" if len(rows_B) > MAX_NAMES else ""
    return "".join([*names, more])
