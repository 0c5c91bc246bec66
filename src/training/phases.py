"""Training in phases: which modules train in each, with an optimizer and a schedule of its own."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from src.models.adapted import AdaptedNetwork
from src.models.freeze import set_trainable, trained_modules
from src.runs.resumed_state import require_fitting, settings_of_groups
from src.training.schedules import convert_moves


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


# Parameters of torchvision's and timm's networks that are no weights of a layer, and have several dimensions.
UNDECAYED = """
class_token cls_token dist_token reg_token pos_embedding pos_embed relative_position_bias_table layer_scale logit_scale
""".split()  # noqa: SIM905


@dataclass(frozen=True)
class ParameterGroups:
    """Which parameters train at which share of the rate, and which are not decayed.

    Args:
        layer_decay: factor on the rate from each block to the one before it, from the head (1) to the input (Clark et
            al. 2020, arXiv 2003.10555, section 3.1; Bao et al. 2022, arXiv 2106.08254). 1 = the same rate throughout.
        head_lr_factor: factor on the head's rate, where more than the head trains.
        decay_norms_and_biases: whether weight decay also pulls at norms, biases, embeddings of position and the like.
    """

    layer_decay: float = 1.0
    head_lr_factor: float = 1.0
    decay_norms_and_biases: bool = False

    def build(self, optimizer: Callable[..., Optimizer], model: AdaptedNetwork) -> Optimizer:
        """The optimizer of those parameters of the network that train, one group for each pair of rate and decay.

        The groups keep their proportions under any schedule that multiplies the rates it finds.
        """
        stages = model.stages
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        trained = [(name, p) for name, p in model.net.named_parameters() if p.requires_grad]
        head_alone = all(model.in_head(name) for name, _ in trained)
        for name, parameter in trained:
            if model.in_head(name):
                scale = 1.0 if head_alone else self.head_lr_factor
            else:
                # What belongs to no block, such as a class token, is added at the input.
                at = next((i for i, blocks in enumerate(stages) if name.startswith(tuple(f"{b}." for b in blocks))), 0)
                scale = self.layer_decay ** (len(stages) - at)
            decayed = self.decay_norms_and_biases or not (parameter.ndim <= 1 or name.rpartition(".")[2] in UNDECAYED)
            groups.setdefault((scale, decayed), []).append(parameter)
        built = optimizer([
            {"params": parameters, "lr_scale": scale, **({} if decayed else {"weight_decay": 0.0})}
            for (scale, decayed), parameters in groups.items()
        ])  # fmt: skip
        for group in built.param_groups:
            group["lr"] *= group["lr_scale"]
        return built


@dataclass(frozen=True)
class TrainingPlan:
    """How a task trains. `monitor`: the metric that schedules by plateau watch. `phases`: in order; none for a model
    that is only used. `seed`: of everything random on the device. `groups`: rates and decay by parameter.
    `skip_nonfinite`: leave out batches whose loss is not finite, instead of ending the run. `batch_norm_trains` is as
    in `trained_modules`.
    """

    monitor: str
    phases: Sequence[Phase] = ()
    seed: int = 0
    groups: ParameterGroups = field(default_factory=ParameterGroups)
    skip_nonfinite: bool = False
    batch_norm_trains: bool = True


class PhasedModule(LightningModule):
    """A network that trains phase by phase: freezes, builds optimizers and moves schedules."""

    def __init__(self, model: AdaptedNetwork, plan: TrainingPlan) -> None:
        super().__init__()
        self.model = model
        self.phases, self.groups = list(plan.phases), plan.groups
        self.monitor, self.batch_norm_trains = plan.monitor, plan.batch_norm_trains
        self.phase_index = 0
        self.phase_start_epoch = 0
        self.moves_per_epoch = 1  # of the current phase's schedule
        self.has_started = False  # of the current fit: nothing of a checkpoint is restored any more
        self._moves_per_epoch_before: int | None = None  # as it was when the resumed run was interrupted
        self._frozen: set[str] = set()
        self._built_groups: list[dict[str, Any]] = []

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
        trained = trained_modules(self.model, self.phase.train, self.batch_norm_trains)
        self._frozen = set_trainable(self.model, trained)
        self.train()

    def set_rate(self, index: int, rate: float) -> None:
        """The rate of a phase, which its parameter groups have shares of; no lr_factor multiplies it."""
        phase = self.phases[index]
        self.phases[index] = replace(phase, optimizer=functools.partial(phase.optimizer, lr=rate))

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

    def build_optimizer(self) -> Optimizer:
        """Of the current phase."""
        return self.groups.build(self.phase.optimizer, self.model)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = self.build_optimizer()
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

    def on_train_epoch_end(self) -> None:
        if self.phase.interval == "epoch":
            scheduler = self.lr_schedulers()
            if isinstance(scheduler, ReduceLROnPlateau):
                if (self.current_epoch + 1) % (self.trainer.check_val_every_n_epoch or 1):
                    return  # no new value to look at
                scheduler.step(self.trainer.callback_metrics[self.monitor])
            elif isinstance(scheduler, LRScheduler):
                scheduler.step()
