"""What every task shares: steps, phases, frozen modules that stay frozen, schedules, what a checkpoint carries."""

import functools
import hashlib
import inspect
import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy.typing as npt
import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from PIL import Image
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics import MeanMetric, Metric

from src.data.dataset import Batch
from src.evaluation.evidence import MAX_NOT_FINITE, Evidence
from src.models.classifier import ImageClassifier
from src.models.freeze import set_trainable, trained_modules
from src.runs.resumed_state import forget_foreign_files, require_fitting, settings_of_groups
from src.settings.check import leaves
from src.settings.errors import RunStopped
from src.training.metric_states import scalars
from src.training.optim import ParameterGroups, convert_moves
from src.training.sharding import ShardedStrategy, shard

log = logging.getLogger(__name__)

CHECKPOINT_KEY = "finetune"
CALIBRATION_KEY = "calibration"  # below it, in best.ckpt once the run has ended
TRAINED_WEIGHTS_KEY = "trained_state_dict"  # in checkpoints whose state_dict is a moving average of these
MAX_NAMES = 20  # of images in a message
MAX_SKIPPED = 20  # batches in a row whose loss is not finite


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
    """Base of the tasks: a model that trains in phases. Logs `<split>/loss`; a task adds its metrics.

    Shapes: B images, K outputs of the network.

    Args:
        model: takes uint8 images.
        loss: takes outputs [B, K] and labels as the batches have them.
        class_names: names of the K outputs, in their order.
        phases: of the training, in order. Empty for a model that is only used.
        monitor: the metric that schedules by plateau watch.
        seed: of everything random on the device, step by step.
        record: plain data that each checkpoint carries: config, class names, preprocessing, versions.
        groups: rates and decay by parameter.
        mixing: mixup or cutmix: takes float images [B, 3, H, W] and labels, gives both mixed, the labels as shares
            float [B, K].
        skip_nonfinite: leave out batches whose loss is not finite, instead of ending the run.
    """

    answer_columns: ClassVar[list[str]]  # of predictions.csv

    def __init__(
        self,
        *,
        model: ImageClassifier,
        loss: nn.Module,
        class_names: list[str],
        phases: list[Phase],
        monitor: str,
        seed: int,
        record: dict[str, Any],
        groups: ParameterGroups | None = None,
        mixing: nn.Module | None = None,
        skip_nonfinite: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.class_names = class_names
        self.phases = phases
        self.monitor = monitor
        self.seed = seed
        self.record = record
        self.groups = groups or ParameterGroups()
        self.mixing = mixing
        self.skip_nonfinite = skip_nonfinite
        self.skipped_in_a_row = 0
        self.left_out = False  # the current batch
        self.temperature = 1.0  # by which logits are divided for probabilities: src/evaluation/calibration.py
        self.phase_index = 0
        self.phase_start_epoch = 0
        self._frozen: set[str] = set()
        self.fit_start = time.perf_counter()  # earlier by what an interrupted run trained before
        self.moves_per_epoch = 1  # of the current phase's schedule
        self._moves_per_epoch_before: int | None = None  # as it was when the resumed run was interrupted
        self.has_started = False  # of the current fit: nothing of a checkpoint is restored any more
        self._built_groups: list[dict[str, Any]] = []
        self._training_metrics: dict[str, dict[str, Tensor]] = {}  # of the resumed epoch's first part
        self.train_loss, self.val_loss, self.test_loss = MeanMetric(), MeanMetric(), MeanMetric()
        self.val_finite, self.test_finite = MeanMetric(), MeanMetric()  # shares of the images with finite outputs

    # --------------------------------------------------------------------------------------------- what a task defines

    @property
    @abstractmethod
    def metric_names(self) -> list[str]:
        """What can be monitored: every metric that validation logs."""

    @abstractmethod
    def update_metrics(self, split: str, outputs_BK: Tensor, labels: Tensor) -> None:
        """Count in a batch of val or test."""

    @abstractmethod
    def compute_metrics(self, split: str) -> dict[str, Tensor]:
        """Of all images of val or test and all processes, by name; counting starts anew."""

    @abstractmethod
    def probabilities(self, outputs_BK: Tensor) -> Tensor:
        """float32 [B, K]: what predictions.csv has in the columns `prob:<class>`; [B, 0] if there are none."""

    @abstractmethod
    def ood_scores(self, outputs_BK: Tensor) -> Tensor:
        """float32 [B]: the higher, the less an image looks like those of the training; [0] if outputs do not tell."""

    @abstractmethod
    def answers(self, outputs_BK: Tensor) -> list[list[str]]:
        """For each image the texts of `answer_columns`."""

    @property
    def probability_columns(self) -> list[str]:
        """What predictions.csv has beside the answers: one column per class, none for numbers."""
        return [f"prob:{name}" for name in self.class_names]

    def rows(self, outputs_BK: Tensor) -> list[tuple[list[str], list[str]]]:
        """For each image the texts of `answer_columns` and of `probability_columns`."""
        texts = [[f"{p:.6f}" for p in row] for row in self.probabilities(outputs_BK).tolist()]
        return list(zip(self.answers(outputs_BK), texts, strict=True))

    def update_training_metrics(self, outputs_BK: Tensor, targets: Tensor) -> None:
        """Count in a training batch: metrics in attributes that begin with `train_`, which are logged by themselves.

        `targets` are as the loss got them, those of mixed images float [B, K].
        """

    def learn_labels(self, labels: npt.NDArray[Any]) -> None:
        """Take over what the training labels say about the outputs, before training; see ImageTable.labels."""

    def figures(
        self, split: str, arrays: Mapping[str, npt.NDArray[Any]], labels: npt.NDArray[Any]
    ) -> dict[str, Image.Image]:
        """Drawn for TensorBoard, by name, of what a validation step returned [N, ...] and the images' labels [N]."""
        return {}

    def to_targets(self, labels: Tensor) -> Tensor:
        """What the loss compares the outputs with."""
        return labels

    def calibrate(self, val: Evidence) -> dict[str, float]:
        """Learn from the best weights' evidence of val, which has images; what best.ckpt then carries, if anything."""
        return {}

    def further_metrics(self, evidence: Evidence) -> dict[str, float]:
        """Of the final weights on a split, beside those that each validation logs; there are images."""
        return {}

    def setup(self, stage: str) -> None:
        """Raise RunStopped if the processes of this run were given different settings, as an adaptive sweep would."""
        if self.trainer.world_size == 1:
            return
        everyones: list[Any] = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(everyones, dict(leaves(self.record["config"])))
        different = {key for one in everyones for key in one if one[key] != everyones[0].get(key)}
        if different:
            values = [f"{key}: {', '.join(str(one.get(key)) for one in everyones)}" for key in sorted(different)]
            raise RunStopped("The processes of this run were given different settings:\n  " + "\n  ".join(values))

    def configure_model(self) -> None:
        """Called before each fit and evaluation."""
        if self.is_sharded:
            assert self.device_mesh is not None
            shard(self.model, self.device_mesh["data_parallel"])

    @property
    def is_sharded(self) -> bool:
        return isinstance(self.trainer.strategy, ShardedStrategy)

    # ----------------------------------------------------------------------------------------------------------- steps

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Outputs [B, K] of uint8 images [B, 3, H, W]."""
        outputs_BK: Tensor = self.model(images_BCHW)
        return outputs_BK

    def outputs_of(self, batch: Batch) -> Tensor:
        """[B, K], of images or of the frozen network's features of them."""
        return self.model.classify(batch["features"]) if "features" in batch else self(batch["image"])

    def loss_of(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs [B, K], targets as the loss takes them, and the loss of a training batch, mixed if it is to be."""
        if self.mixing is None:
            outputs_BK, targets = self.outputs_of(batch), self.to_targets(batch["label"])
        else:
            images_BCHW, targets = self.mixing(batch["image"].float(), batch["label"])
            outputs_BK = self(images_BCHW)
        return outputs_BK, targets, self.loss(outputs_BK, targets)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        size = len(batch["label"])
        if size:
            outputs_BK, targets, loss = self.loss_of(batch)
        else:  # nothing in this batch could be read; the other processes go on, so this one asks whatever they ask
            nothing, outputs_BK, loss = self.no_loss(), torch.empty(0, 1), torch.zeros(())
        self.left_out = self.on_any_process(not bool(loss.isfinite()))
        if self.left_out:
            self.meet_nonfinite_loss(batch, outputs_BK, loss)
        if not size:
            return nothing
        if self.left_out:
            return self.no_loss()
        self.skipped_in_a_row = 0
        self.log("train/loss_step", loss, batch_size=size)
        self.train_loss.update(loss.detach(), weight=size)
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True, batch_size=size)
        self.update_training_metrics(outputs_BK, targets)
        return loss

    def no_loss(self) -> Tensor | None:
        """For a batch with nothing in it: no step; among several processes one that does not change the others'."""
        if self.trainer.world_size == 1:
            return None
        if self.is_sharded:
            return self.run_idle() * 0.0
        return torch.stack([p.sum() for p in self.parameters() if p.requires_grad]).sum() * 0.0

    def run_idle(self) -> Tensor:
        """For sharded weights, which all processes gather together: one without images runs it on a black one."""
        self.model.eval()  # no statistics of it
        size = self.record["preprocessing"]["crop_px"]
        outputs_BK: Tensor = self(torch.zeros(1, 3, size, size, dtype=torch.uint8, device=self.device))
        self.train(self.training)
        return outputs_BK.sum()

    def on_any_process(self, condition: bool) -> bool:
        """Whether it is so on at least one process; all of them have to ask."""
        if self.trainer.world_size == 1:
            return condition
        return self.trainer.strategy.reduce_boolean_decision(condition, all=False)

    def meet_nonfinite_loss(self, batch: Batch, outputs_BK: Tensor, loss: Tensor) -> None:
        """Say which images it were. Raise RunStopped, with the state saved, unless such batches are left out."""
        table = self.trainer.datamodule.table  # type: ignore[attr-defined]
        bad_B = ~outputs_BK.detach().isfinite().all(dim=1)
        rows = batch["index"][bad_B if bad_B.any() else ...].tolist()
        names = [str(table.paths[row]) for row in rows]
        shown = "\n  ".join(names[:MAX_NAMES]) + (
            f"\n  ... {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        )
        what = "Images whose outputs are not finite" if bad_B.any() else "Its images"
        if loss.isfinite():
            what = "It is so on another process, which names the images. Here they were"
        text = (
            f"The loss is {'not finite' if loss.isfinite() else f'{loss.item():g}'} in epoch {self.current_epoch + 1}, "
            f"step {self.global_step + 1}. "
            f"{what}:\n  {shown}"
        )
        parts = [p.to_local() if isinstance(p, DTensor) else p for p in self.parameters()]
        healthy = not self.on_any_process(not all(bool(part.isfinite().all()) for part in parts))
        self.skipped_in_a_row += 1
        if self.skip_nonfinite and healthy and self.skipped_in_a_row <= MAX_SKIPPED:
            log.warning("Batch left out. %s", text)
            return
        state = Path(self.trainer.default_root_dir) / "checkpoints" / "nonfinite.ckpt"
        if healthy:
            self.trainer.save_checkpoint(state)
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

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor] | None:
        return self.evaluate_batch(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor] | None:
        return self.evaluate_batch(batch, "test")

    def evaluate_batch(self, batch: Batch, split: str) -> dict[str, Tensor] | None:
        """Count in the images with finite outputs; return the rows of the image table, and what is kept, of all."""
        labels = batch["label"]
        if not len(labels):
            if self.is_sharded:
                self.run_idle()
            return None
        outputs_BK = self.outputs_of(batch).float()
        finite_B = outputs_BK.isfinite().all(dim=1)
        getattr(self, f"{split}_finite").update(finite_B.float())
        if finite_B.any():
            good_BK, labels = outputs_BK[finite_B], labels[finite_B]
            getattr(self, f"{split}_loss").update(self.loss(good_BK, self.to_targets(labels)), weight=len(labels))
            self.update_metrics(split, good_BK, labels)
        return {"index": batch["index"], "outputs": outputs_BK}

    def on_validation_epoch_end(self) -> None:
        self.log_metrics("val")

    def on_test_epoch_end(self) -> None:
        self.log_metrics("test")

    def log_metrics(self, split: str) -> None:
        loss, finite = getattr(self, f"{split}_loss"), getattr(self, f"{split}_finite")
        # The values are the same on every process already.
        values = {**self.compute_metrics(split), f"{split}/loss": loss.compute()}
        if 1 - finite.compute() > MAX_NOT_FINITE + 1e-6:  # a share in float32
            values = {name: torch.full_like(value, torch.nan) for name, value in values.items()}
        self.log_dict(values)
        loss.reset()
        finite.reset()

    # --------------------------------------------------------------------------------------------------------- phases

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

    @property
    def trains_head_alone(self) -> bool:
        return self.phase.train == "head"

    def frozen_fingerprint(self) -> str:
        """Changes with the weights outside the head, and with the precision in which they compute."""
        digest = hashlib.sha256(f"{self.trainer.precision} {self.model.memory_format}".encode())
        head = f"net.{self.model.head_name}."
        for name, value in self.model.state_dict().items():
            if not name.startswith(head):
                digest.update(name.encode())
                digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        # Of a head on feature maps the features are averages, unless there is more to it than one affine layer.
        digest.update(type(self.model.head).__name__.encode())
        return digest.hexdigest()

    def frozen_features(self, images_BCHW: Tensor) -> Tensor:
        """What the head gets, of uint8 images [B, 3, H, W] on any device, in inference mode and this precision."""
        training = self.model.training
        self.model.eval()
        with torch.inference_mode(), self.trainer.precision_plugin.forward_context():
            features = self.model.features(images_BCHW.to(self.device, non_blocking=True))
        self.model.train(training)
        self.train(self.training)  # frozen modules go back to inference mode
        return features

    # ------------------------------------------------------------------------------------------------- optimization

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = self.groups.build(self.phase.optimizer, self.model.net, self.model.head_name)
        self.has_started = False
        total_steps, max_epochs = self.trainer.estimated_stepping_batches, self.trainer.max_epochs or 1
        self.moves_per_epoch = max(1, round(total_steps / max_epochs)) if self.phase.interval == "step" else 1
        times = {"steps_per_epoch": self.moves_per_epoch, "epochs": self.phase.epochs}
        accepted = inspect.signature(self.phase.scheduler).parameters
        scheduler = self.phase.scheduler(optimizer, **{key: times[key] for key in times if key in accepted})
        self._built_groups = settings_of_groups(optimizer)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": scheduler,
                "interval": self.phase.interval,
                "monitor": self.monitor,
                # Lightning looks for the metric itself, which is only there when val was measured.
                "frequency": (self.trainer.check_val_every_n_epoch or 1) if self.phase.interval == "epoch" else 1,
                "name": "lr",
            },
        }

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Lightning moves schedules by epoch after the checkpoint is written, and a resumed run would miss that move.

        So `on_train_epoch_end` does it, which comes before.
        """
        if self.phase.interval == "step":
            scheduler.step()

    def on_train_start(self) -> None:
        """What was restored must fit; a schedule has counted steps of epochs that may have been longer or shorter."""
        for optimizer in self.trainer.optimizers:
            require_fitting(optimizer, self._built_groups)
        self.has_started = True
        before, self._moves_per_epoch_before = self._moves_per_epoch_before, None
        if before not in (None, self.moves_per_epoch) and self.phase.interval == "step":
            convert_moves(self.lr_schedulers(), before, self.moves_per_epoch)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        if self.left_out and self.trainer.accumulate_grad_batches == 1:
            optimizer.zero_grad()  # among several processes there are gradients, of 0, by which momentum would step
        self.log("lr", max(group["lr"] for group in optimizer.param_groups))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Mixing, dropout and the like follow from the step alone: a resumed run draws what the uninterrupted one did.
        parts = (self.seed + 1, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(functools.reduce(lambda mixed, part: (mixed * 1_000_003 + part) % (1 << 63), parts))
        self.restore_training_metrics()

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
        self._training_metrics = checkpoint[CHECKPOINT_KEY]["training_metrics"]
        self._moves_per_epoch_before = checkpoint[CHECKPOINT_KEY]["moves_per_epoch"]
        old = checkpoint[CHECKPOINT_KEY]["config"]["output_dir"]
        config = self.record["config"]
        checkpoint["callbacks"] = moved(checkpoint["callbacks"], old, config["output_dir"])
        if not config["trust"]:
            forget_foreign_files(checkpoint["callbacks"], Path(config["output_dir"]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = self.trainer.fit_loop.epoch_loop.batch_progress.current.state_dict()
        batches = state["processed"]
        within_epoch = batches < self.trainer.num_training_batches
        checkpoint[CHECKPOINT_KEY] = {
            **self.record,
            "phase": self.phase_index,
            "phase_start_epoch": self.phase_start_epoch,
            "phase_epochs": [phase.epochs for phase in self.phases],
            "epochs_done": self.trainer.fit_loop.epoch_progress.current.state_dict()["processed"],
            "moves_per_epoch": self.moves_per_epoch,
            "batches_done": batches if within_epoch else 0,
            "processes": self.trainer.world_size,
            "training_metrics": self.training_metrics() if within_epoch else {},
            "metrics": scalars(self.trainer.callback_metrics),
            "fit_seconds": time.perf_counter() - self.fit_start,
        }

    def training_metrics(self) -> dict[str, dict[str, Tensor]]:
        """What the metrics of the current epoch have counted so far, on all processes."""
        states = {}
        for name, metric in self.named_children():
            if name.startswith("train_") and isinstance(metric, Metric):
                metric.sync()
                state = {key: torch.as_tensor(value).clone() for key, value in metric.metric_state.items()}
                states[name] = {**state, "_update_count": torch.tensor(metric.update_count)}
                if self.trainer.world_size > 1:
                    metric.unsync()
        return states

    def restore_training_metrics(self) -> None:
        states, self._training_metrics = self._training_metrics, {}
        for name, state in states.items() if self.global_rank == 0 else ():
            metric = getattr(self, name, None)
            if not isinstance(metric, Metric) or not name.startswith("train_"):
                continue
            metric._update_count = int(state.get("_update_count", 0))
            for key, value in state.items():
                if key in metric._defaults and isinstance(value, Tensor):
                    setattr(metric, key, value.to(self.device))


def moved(values: Any, old: str, new: str) -> Any:
    """Nested plain data with the folder `old` replaced by `new` in every path below it."""
    if isinstance(values, dict):
        return {moved(key, old, new): moved(value, old, new) for key, value in values.items()}
    if isinstance(values, list):
        return [moved(value, old, new) for value in values]
    if isinstance(values, str) and (values == old or values.startswith(f"{old}/")):
        return new + values.removeprefix(old)
    return values
