"""What a checkpoint says of its run, as typed data."""

import sys
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from src.models.preprocessing import Preprocessing
from src.runs.record_check import ENTRIES, require_entries, require_named_task
from src.settings.errors import ConfigError

CHECKPOINT_KEY = "finetune"
CALIBRATION_KEY = "calibration"  # below it, in best.ckpt once the run has ended
TRAINED_WEIGHTS_KEY = "trained_state_dict"  # in checkpoints whose state_dict is a moving average of these
PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "omegaconf", "pillow", "numpy")
PHASE = "phase_"


def package_versions() -> dict[str, str]:
    """Of what every run uses, and of timm if this one has a network of its."""
    return {name: version_of(name) for name in (*PACKAGES, *(["timm"] if "timm" in sys.modules else []))}


version_of = cache(version)  # a file is read each time


@dataclass(frozen=True)
class RunRecord:
    """Everything that evaluate, predict and resume need to know of a run; each checkpoint carries it.

    `config`: the settings, resolved plain data. `class_names`: of the network's outputs, in their order.
    `data_fingerprint`: of images, labels and splits. `versions`: of packages. `run_id`: the run's own, empty where no
    run trains. `network`: see FineTuneTask.network_for. `rates`: that lr_find has found, by the phase's number from 0.
    `calibration`: what val has taught, such as a temperature or thresholds, in best.ckpt once the run has ended.
    """

    config: dict[str, Any]
    class_names: list[str]
    preprocessing: Preprocessing
    data_fingerprint: str
    versions: dict[str, str] = field(default_factory=package_versions)
    run_id: str = ""
    network: dict[str, Any] = field(default_factory=dict)
    rates: dict[int, float] = field(default_factory=dict)
    calibration: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, checkpoint: dict[str, Any], file: Path) -> "RunRecord":
        """What a checkpoint carries. Raises ConfigError, which names the entry, if it is none of this project's."""
        values = checkpoint[CHECKPOINT_KEY]
        require_named_task(values, file)
        require_entries(values, ENTRIES, f"{CHECKPOINT_KEY}.", file)
        known = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        try:
            known["preprocessing"] = Preprocessing.from_dict(values["preprocessing"])
        except TypeError as error:
            raise ConfigError(
                f"'{file}' cannot be used: its entry finetune.preprocessing has what this version does not know "
                f"({error})."
            ) from error
        found = values.get("rates", {}).items()
        return cls(**{**known, "rates": {int(name.removeprefix(PHASE)) - 1: rate for name, rate in found}})

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a checkpoint, below CHECKPOINT_KEY: plain data."""
        values = {**vars(self), "preprocessing": self.preprocessing.as_dict(), "rates": self.rates_by_phase}
        return {key: value for key, value in values.items() if value or key not in (CALIBRATION_KEY, "network")}

    def setting(self, key: str) -> Any:
        """The value of a dotted key; None if there is none."""
        value: Any = self.config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    @property
    def task_name(self) -> str:
        return str(self.setting("task.name"))

    @property
    def monitor(self) -> str:
        """The metric that says which checkpoint is the best, such as val/acc."""
        return str(self.setting("task.monitor"))

    @property
    def backbone_name(self) -> str:
        return str(self.setting("backbone.name"))

    @property
    def usual_norms(self) -> dict[str, str]:
        """`norms` for a head that leaves them open: pretrained ones stand still, random ones train."""
        if self.config["head"].get("norms", ...) is not None:
            return {}
        return {"norms": "train" if self.setting("backbone.weights") is None else "frozen"}

    @property
    def output_dir(self) -> Path:
        return Path(self.setting("output_dir"))

    @property
    def temperature(self) -> float:
        """By which logits are divided for probabilities; 1 as long as none is known."""
        return self.calibration.get("temperature", 1.0)

    @property
    def usual_ood_score(self) -> float | None:
        """What 1 % of the val images exceeded; None if it is not known."""
        return self.calibration.get("ood_score_p99")

    @property
    def rates_by_phase(self) -> dict[str, float]:
        """As files name them: phase_1 and so on."""
        return {f"{PHASE}{index + 1}": rate for index, rate in self.rates.items()}

    def with_batch_size(self, batch_size: int) -> "RunRecord":
        data = {**self.config["data"], "batch_size": batch_size}
        return replace(self, config={**self.config, "data": data})


def moved(values: Any, old: str, new: str) -> Any:
    """Nested plain data with the folder `old` replaced by `new` in every path below it."""
    if isinstance(values, dict):
        return {moved(key, old, new): moved(value, old, new) for key, value in values.items()}
    if isinstance(values, list):
        return [moved(value, old, new) for value in values]
    if isinstance(values, str) and (values == old or values.startswith(f"{old}/")):
        return new + values.removeprefix(old)
    return values
