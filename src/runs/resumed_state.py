"""What a checkpoint says of a run that is to go on: checked before it is taken over, since it may be anybody's."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from src.settings.errors import ConfigError, RunStopped
from src.settings.plain_values import Rules, is_number

MOST_EPOCHS = 1_000_000
PATHS = ("best_model_path", "last_model_path", "kth_best_model_path")  # of Lightning's ModelCheckpoint
SCALARS = ("step",)  # of fused optimizers, all else has the shape of the parameter


def is_count(value: Any, low: int = 0, high: int = 10**12) -> bool:
    return isinstance(value, int) and is_number(value, low, high)


def are_mappings(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) and isinstance(v, dict) for key, v in value.items())


RECORD: Rules = {
    "phase": (is_count, "a whole number"),
    "phase_start_epoch": (lambda v: is_count(v, 0, MOST_EPOCHS), "a number of epochs"),
    "phase_epochs": (
        lambda v: isinstance(v, list) and bool(v) and all(is_count(one, 1, MOST_EPOCHS) for one in v),
        "a list of numbers of epochs",
    ),
    "epochs_done": (lambda v: is_count(v, 0, MOST_EPOCHS), "a number of epochs"),
    "moves_per_epoch": (lambda v: is_count(v, 1), "a whole number above 0"),
    "batches_done": (is_count, "a whole number"),
    "processes": (lambda v: is_count(v, 1), "a whole number above 0"),
    "training_metrics": (are_mappings, "states of metrics"),
    "metrics": (
        lambda v: isinstance(v, dict) and all(isinstance(one, int | float) for one in v.values()),
        "numbers",
    ),
    "fit_seconds": (lambda v: is_number(v, 0), "a number of seconds"),
    "rates": (lambda v: isinstance(v, dict) and all(is_number(rate, 0) for rate in v.values()), "numbers by phase"),
}
OPTIONAL = ("rates",)
STATE: Rules = {
    "callbacks": (are_mappings, "states of callbacks"),
    "optimizer_states": (lambda v: isinstance(v, list) and all(isinstance(one, dict) for one in v), "a list of states"),
    "lr_schedulers": (lambda v: isinstance(v, list) and all(isinstance(one, dict) for one in v), "a list of states"),
    "loops": (lambda v: is_count(epochs_of(v), 0, MOST_EPOCHS), "progress of the loops"),
}


def epochs_of(loops: Any) -> Any:
    """Epochs that the training loop has counted."""
    for key in ("fit_loop", "epoch_progress", "current", "processed"):
        loops = loops.get(key) if isinstance(loops, dict) else None
    return loops


def check_resumable(checkpoint: dict[str, Any], record: dict[str, Any], file: Path) -> None:
    """Raise ConfigError, naming the entry, unless a run can go on with what is in the checkpoint."""
    for values, rules, where in ((record, RECORD, "finetune."), (checkpoint, STATE, "")):
        for entry, (right, wanted) in rules.items():
            value = values.get(entry)
            if not right(value) and not (value is None and entry in OPTIONAL):
                raise unfit(file, f"its entry {where}{entry} is not {wanted}")
    config = record["config"]
    for group in ("data", "trainer", "freeze", "callbacks", "logger"):
        if not isinstance(config.get(group), dict):
            raise unfit(file, f"its settings have no {group}")
    phases = config["freeze"].get("phases")
    if not isinstance(phases, list) or len(phases) != len(record["phase_epochs"]) or record["phase"] >= len(phases):
        raise unfit(file, "its phases are not those of its freeze plan")
    names = {f"phase_{n + 1}" for n in range(len(phases))}
    trainer = config["trainer"]
    needed = [config["data"].get("batch_size"), trainer.get("max_epochs"), trainer.get("accumulate_grad_batches")]
    if not all(is_count(value, 1) for value in needed) or not set(record.get("rates") or {}) <= names:
        raise unfit(file, "its settings lack a batch size or a number of epochs, or it has rates of other phases")


def unfit(file: Path, why: str) -> ConfigError:
    return ConfigError(
        f"'{file}' cannot be gone on with: {why}. It is damaged, or was written by another version of this project."
    )


def forget_foreign_files(callbacks: dict[str, Any], run_dir: Path) -> None:
    """Take out of the states of ModelCheckpoints all paths but those of checkpoints in the run's own directory.

    Lightning removes files and folders that are named there, and the best weights are read from and written to them.
    """
    for state in callbacks.values():
        for key in PATHS:
            if key in state and not is_own_checkpoint(state[key], run_dir):
                state[key] = ""
        if "best_k_models" in state:
            models = state["best_k_models"] if isinstance(state["best_k_models"], dict) else {}
            state["best_k_models"] = {path: v for path, v in models.items() if is_own_checkpoint(path, run_dir)}


def is_own_checkpoint(path: Any, run_dir: Path) -> bool:
    if not isinstance(path, str) or "://" in path or not path.endswith(".ckpt"):
        return False
    file = Path(path)
    return file.is_file() and not file.is_symlink() and file.resolve().is_relative_to(run_dir.resolve())


def settings_of_groups(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Everything of its groups but the parameters, as it was built."""
    return [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


def require_fitting(optimizer: Optimizer, built: list[dict[str, Any]]) -> None:
    """Give a restored optimizer the switches that it was built with. Raise RunStopped if its state does not fit.

    A fused kernel takes the sizes of its tensors for granted, and would write wherever they end.
    """
    for group, own in zip(optimizer.param_groups, built, strict=True):
        if group.keys() - {"params"} != own.keys():
            raise RunStopped("The checkpoint's optimizer has other settings than this run's: it cannot go on with it.")
        group.update({key: value for key, value in own.items() if value is None or isinstance(value, bool)})
        numbers = [value for key, value in group.items() if is_number(own.get(key))]
        if not all(is_number(value) for value in numbers):
            raise RunStopped("The checkpoint's optimizer has settings that are no finite numbers: it is damaged.")
        for parameter in group["params"] if own.get("fused") else ():
            state = optimizer.state.get(parameter, {})
            for name, value in state.items():
                if not isinstance(value, Tensor) or isinstance(value, DTensor):
                    continue
                if not fits(name, value, parameter):
                    raise RunStopped(
                        f"The checkpoint's optimizer has a state '{name}' of the shape {tuple(value.shape)} for a "
                        f"parameter of the shape {tuple(parameter.shape)}: it is damaged."
                    )
                if name not in SCALARS and value.stride() != parameter.stride():  # channels_last has changed, say
                    state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def fits(name: str, value: Tensor, parameter: Tensor) -> bool:
    if name in SCALARS:
        return value.numel() == 1
    return value.shape == parameter.shape and value.is_floating_point()
