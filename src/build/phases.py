"""The freeze plan: each phase with its epochs, optimizer and schedule."""

from typing import Any

from hydra.utils import instantiate

from src.build.device import find_accelerator, find_precision
from src.runs.run import TrainingRun
from src.settings.errors import ConfigError
from src.settings.signatures import check_targets
from src.settings.trust import plain_config
from src.training.phases import Phase


def build_phases(run: TrainingRun) -> list[Phase]:
    """The freeze plan of the run's settings. Raises ConfigError for unknown arguments, and a warmup without end."""
    settings = run.settings
    phases = []
    unscales = settings.trainer.get("gradient_clip_val") is not None and "mixed" in find_precision(
        str(settings.trainer["precision"]), find_accelerator(settings.trainer["accelerator"])
    )
    for i, (phase, epochs) in enumerate(zip(settings.freeze.phases, run.phase_epochs, strict=True)):
        optimizer = override(settings.optimizer, phase.optimizer)
        if "lr" in optimizer and "lr" not in phase.optimizer:
            optimizer["lr"] *= phase.lr_factor
        if unscales and "fused" in optimizer:
            optimizer["fused"] = False  # a fused step unscales the gradients itself, too late for clipping
        if settings.trainer.get("strategy") == "fsdp" and optimizer["_target_"] == "torch.optim.SGD":
            optimizer["fused"] = False  # torch has no fused step of SGD for sharded weights
        scheduler = override(settings.scheduler, phase.scheduler)
        interval = scheduler.pop("interval", "step")
        if (warmup := scheduler.get("warmup_epochs", 0)) and warmup >= epochs:
            raise ConfigError(
                f"scheduler.warmup_epochs={warmup:g} is as long as phase {i + 1} of the freeze plan ({epochs} epochs): "
                "the rate would never reach optimizer.lr."
            )
        check_targets({f"freeze.phases.{i}": {"optimizer": optimizer, "scheduler": scheduler}})
        nodes = plain_config({"optimizer": optimizer, "scheduler": scheduler})
        built = instantiate(nodes.optimizer), instantiate(nodes.scheduler)
        phases.append(Phase(phase.train, epochs, *built, interval))
    return phases


def override(node: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`node` with single settings changed; another `_target_` replaces it whole."""
    if "_target_" in changes:
        node = {"_partial_": True}
    # Lists stay lists: NAdam keeps its betas as they come, and a ListConfig in a checkpoint cannot be loaded.
    return {**node, **changes, "_convert_": "all"}
