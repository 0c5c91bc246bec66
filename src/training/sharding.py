"""trainer.strategy=fsdp: each process keeps a part of every weight, gradient and optimizer state (FSDP2 of torch).

Lightning's ModelParallelStrategy leaves the cutting to the task: every parameter stays one of its own, with its name,
of which each process holds some rows. Checkpoints are those of any other run.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.optim import Optimizer

from src.models.adapted import AdaptedNetwork
from src.training.callbacks.every_batch import EveryBatch
from src.training.processes import leave_others_at_exit, require_same_settings
from src.training.resumable import ResumableModule

READ = StateDictOptions(full_state_dict=True, cpu_offload=True)
WRITE = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, strict=False)


def shard(model: AdaptedNetwork, processes: DeviceMesh) -> None:
    """Leave to each process its part of the weights: block by block, and what is in no block. The second time: nothing.

    All processes have to hold the same weights before.
    """
    if isinstance(model, FSDPModule):
        return
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # the channels-last layout cannot be cut
    for block in model.blocks:
        fully_shard(model.net.get_submodule(block), mesh=processes)
    fully_shard(model, mesh=processes, reshard_after_forward=True)
    # Networks that end with a flattening; nothing writes into their outputs.
    warnings.filterwarnings("ignore", rf"FSDP2-wrapped module \({type(model).__name__}\) returned a view tensor")


def load_sharded(weights: Mapping[str, Tensor], module: torch.nn.Module) -> None:
    """Whole weights into a sharded network; only the first process needs to have them."""
    set_model_state_dict(module, dict(weights), options=WRITE)


class ShardedStrategy(ModelParallelStrategy):
    """Data are shared out among all processes, and so are the weights. Checkpoints are one plain file."""

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """As the optimizer of a single process would have it: parameters are numbered group by group.

        Lightning numbers them as the network has them, and no other strategy could read that.
        """
        assert self.model is not None
        optimizer = optimizer._optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        state: dict[str, Any] = dict(get_optimizer_state_dict(self.model, optimizer, options=READ))
        if not self.is_global_zero:
            return {}
        numbers = {name: i for i, name in enumerate(name for g in state["param_groups"] for name in g["params"])}
        return {
            "state": {numbers[name]: value for name, value in state["state"].items()},
            "param_groups": [{**g, "params": [numbers[name] for name in g["params"]]} for g in state["param_groups"]],
        }

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Every process reads the file, also one that another strategy wrote."""
        assert self.model is not None
        checkpoint: dict[str, Any] = torch.load(Path(checkpoint_path), map_location="cpu", mmap=True, weights_only=True)
        load_sharded(checkpoint["state_dict"], self.model)
        name_of = {parameter: name for name, parameter in self.model.named_parameters()}
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            if not saved["state"]:  # SGD without momentum, on which torch's function fails
                for group, old in zip(optimizer.param_groups, saved["param_groups"], strict=True):
                    group.update({key: value for key, value in old.items() if key != "params"})
                continue
            names = [name_of[parameter] for group in optimizer.param_groups for parameter in group["params"]]
            state: dict[str, Any] = {
                "state": {names[i]: value for i, value in saved["state"].items()},
                "param_groups": [{**g, "params": [names[i] for i in g["params"]]} for g in saved["param_groups"]],
            }
            set_optimizer_state_dict(self.model, optimizer, state, options=WRITE)
        return checkpoint


class ShardedEvaluation(EveryBatch):
    """Lets processes evaluate unequal shares of the images: the network runs on all of them, or on none.

    Those that have fewer batches run it on a black image. BatchNorm's statistics, which are not sharded, become those
    of the first process before, as with DDP.
    """

    def __init__(self) -> None:
        self.missing = 0

    def on_validation_start(self, trainer: Trainer, task: LightningModule) -> None:
        for buffer in task.buffers():
            torch.distributed.broadcast(buffer, 0)
        self.count(trainer, trainer.num_val_batches)

    def on_test_start(self, trainer: Trainer, task: LightningModule) -> None:
        self.count(trainer, trainer.num_test_batches)

    def count(self, trainer: Trainer, batches: Sequence[int | float]) -> None:
        own = torch.tensor(sum(map(int, batches)), device=trainer.strategy.root_device)
        self.missing = int(trainer.strategy.reduce(own.clone(), reduce_op="max") - own)

    def epoch_end(self, trainer: Trainer, split: str) -> None:
        for _ in range(self.missing if split != "train" else 0):
            trainer.lightning_module.run_idle()  # type: ignore[operator]


class DistributedModule(ResumableModule):
    """A training in one process or several, whose weights may be sharded."""

    def setup(self, stage: str) -> None:
        leave_others_at_exit()
        require_same_settings(self.record.config)

    def configure_model(self) -> None:
        """Called before each fit and evaluation."""
        if self.is_sharded:
            assert self.device_mesh is not None
            shard(self.model, self.device_mesh["data_parallel"])

    @property
    def is_sharded(self) -> bool:
        return isinstance(self.trainer.strategy, ShardedStrategy)

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
        size = self.record.preprocessing.crop_px
        outputs: Tensor = self(torch.zeros(1, 3, size, size, dtype=torch.uint8, device=self.device)).sum()
        self.train(self.training)
        return outputs

    def forward(self, images_BCHW: Tensor) -> Any:
        return self.model(images_BCHW)
