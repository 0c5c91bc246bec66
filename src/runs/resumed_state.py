"""What a checkpoint says of a run that is to go on: checked before it is taken over, since it may be anybody's."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from src.cli.command_line import resumed_run_dir
from src.runs.checkpoint import load_checkpoint
from src.runs.progress import Progress, are_mappings, is_count, is_epoch, unfit
from src.runs.record import CHECKPOINT_KEY, RunRecord, moved
from src.runs.record_check import require_entries
from src.settings.checkpoints import find_checkpoint
from src.settings.errors import ConfigError, RunStopped
from src.settings.plain_values import Rules, is_number

PATHS = ("best_model_path", "last_model_path", "kth_best_model_path")  # of Lightning's ModelCheckpoint
SCALARS = ("step",)  # of fused optimizers, all else has the shape of the parameter
BATCHES_AND_EPOCHS = ("data.batch_size", "trainer.max_epochs", "trainer.accumulate_grad_batches")
STATE: Rules = {
    "callbacks": (are_mappings, "states of callbacks"),
    "optimizer_states": (lambda v: isinstance(v, list) and all(isinstance(one, dict) for one in v), "a list of states"),
    "lr_schedulers": (lambda v: isinstance(v, list) and all(isinstance(one, dict) for one in v), "a list of states"),
    "loops": (lambda v: is_epoch(epochs_of(v)), "progress of the loops"),
}


class Interrupted(NamedTuple):
    """What the last checkpoint of an interrupted run says; all of it is checked.

    `epochs`: that the training loop has counted. `early_stopping`: the states of the callbacks that end phases.
    """

    file: Path
    record: RunRecord
    progress: Progress
    epochs: int
    early_stopping: list[dict[str, Any]]


def find_interrupted(wanted: str, output_dir: Path) -> Interrupted | None:
    """What `resume` names. None if it is auto and output_dir has no checkpoint; ConfigError if there is none else."""
    automatic = wanted == "auto"
    resume = str(output_dir) if automatic else wanted
    run_dir = resumed_run_dir(Path(resume)).resolve()
    if not (run_dir / "checkpoints" / "last.ckpt").is_file() and (automatic or Path(resume).is_dir()):
        if automatic:
            return None
        raise ConfigError(
            f"resume='{wanted}': there is no checkpoints/last.ckpt yet, since the run ended within its "
            "first epoch. Start it again with its own command."
        )
    file = find_checkpoint(resume, "last")
    checkpoint, record = load_checkpoint(file)
    progress = Progress.of(checkpoint, file)
    check_resumable(checkpoint, record, progress, file)
    require_same_run(record, file, run_dir)
    stopping = [state for key, state in checkpoint["callbacks"].items() if key.startswith("PhaseEarlyStopping")]
    return Interrupted(file, record, progress, epochs_of(checkpoint["loops"]), stopping)


def require_same_run(record: RunRecord, file: Path, run_dir: Path) -> None:
    """Raise ConfigError if the checkpoint is of another run than the files of the directory, which it would mix."""
    facts = run_dir / "environment.json"
    try:
        known = json.loads(facts.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # the run left nothing to compare with
    if isinstance(known, dict) and known.get("run_id") not in (None, record.run_id):
        raise ConfigError(
            f"'{file}' is the checkpoint of another run than the one in {run_dir}, and going on with it would mix the "
            "files of the two: put it into its own run's directory, or into a new one (<dir>/checkpoints/last.ckpt)."
        )


def epochs_of(loops: Any) -> Any:
    """Epochs that the training loop has counted."""
    for key in ("fit_loop", "epoch_progress", "current", "processed"):
        loops = loops.get(key) if isinstance(loops, dict) else None
    return loops


def check_resumable(checkpoint: dict[str, Any], record: RunRecord, progress: Progress, file: Path) -> None:
    """Raise ConfigError, naming the entry, unless a run can go on with what is in the checkpoint."""
    require_entries(checkpoint, STATE, "", file)
    for group in ("data", "trainer", "freeze", "callbacks", "logger"):
        if not isinstance(record.setting(group), dict):
            raise unfit(file, f"its settings have no {group}")
    phases = record.setting("freeze.phases")
    if len(phases) != len(progress.phase_epochs) or progress.phase >= len(phases):
        raise unfit(file, "its phases are not those of its freeze plan")
    needed = [record.setting(key) for key in BATCHES_AND_EPOCHS]
    if not all(is_count(value, 1) for value in needed) or not all(index < len(phases) for index in record.rates):
        raise unfit(file, "its settings lack a batch size or a number of epochs, or it has rates of other phases")


def take_over(checkpoint: dict[str, Any], record: RunRecord) -> Progress:
    """How far the run is that goes on. Its callbacks do so in the directory of `record`, if it was moved since.

    Of the states of ModelCheckpoints all paths are taken out but those of checkpoints in there (trust=true: none):
    Lightning removes files and folders that are named, and the best weights are read from and written to them.
    """
    progress, folder = Progress.of(checkpoint, record.output_dir), record.output_dir
    callbacks = moved(checkpoint["callbacks"], checkpoint[CHECKPOINT_KEY]["config"]["output_dir"], str(folder))
    checkpoint["callbacks"] = callbacks
    for state in callbacks.values() if not record.setting("trust") else ():
        for key in PATHS:
            if key in state and not is_own_checkpoint(state[key], folder):
                state[key] = ""
        if "best_k_models" in state:
            models = state["best_k_models"] if isinstance(state["best_k_models"], dict) else {}
            state["best_k_models"] = {path: v for path, v in models.items() if is_own_checkpoint(path, folder)}
    return progress


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
                same = value.shape == parameter.shape and value.is_floating_point()
                if not (value.numel() == 1 if name in SCALARS else same):
                    raise RunStopped(
                        f"The checkpoint's optimizer has a state '{name}' of the shape {tuple(value.shape)} for a "
                        f"parameter of the shape {tuple(parameter.shape)}: it is damaged."
                    )
                if name not in SCALARS and value.stride() != parameter.stride():  # channels_last has changed, say
                    state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
