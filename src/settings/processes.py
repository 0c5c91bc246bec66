"""Devices, precision and several processes: what of it cannot go together, or with the rest. Imports no torch."""

from collections.abc import Iterator
from typing import Any

from src.settings.schema import TrainConfig

SHARDED_PRECISIONS = ("auto", "32-true", "32", "bf16-mixed")
# What src/training/tuning/ finds, by the setting that asks for it.
FOUND_BY = {"lr_find": "optimizer.lr", "batch_size_find": "data.batch_size"}


def process_problems(settings: TrainConfig) -> Iterator[str]:
    trainer = settings.trainer
    if trainer.get("accelerator") == "cpu" and str(trainer.get("precision")) in ("16-mixed", "16-true"):
        yield (
            f"trainer.precision={trainer['precision']} needs a GPU, and trainer.accelerator is cpu: use 32-true "
            "(or bf16-mixed, which CPUs without bf16 instructions compute slowly)."
        )
    yield from device_problems(trainer.get("devices"))
    if several_processes(trainer):
        yield from (one_process_only(key) for key in FOUND_BY if getattr(settings, key))
    if trainer.get("strategy") == "fsdp":
        yield from sharding_problems(settings)


def device_problems(devices: Any) -> list[str]:
    listed = devices if isinstance(devices, list) else [devices]
    whole = all((isinstance(n, int) and not isinstance(n, bool)) or str(n).lstrip("-").isdigit() for n in listed)
    if devices == "auto" or (whole and listed and (devices is listed or int(listed[0]) in range(-1, 10_000))):
        return [] if devices not in (0, "0") else ["trainer.devices=0 leaves nothing to train on: at least 1, or auto."]
    return [f"trainer.devices={devices!r} is not understood: auto, a number, or a list such as [0, 2]."]


def several_processes(trainer: dict[str, Any]) -> bool:
    """As far as the settings alone tell."""
    devices = trainer.get("devices")
    number = len(devices) if isinstance(devices, list) else devices
    return (isinstance(number, int) and number > 1) or (trainer.get("num_nodes") or 1) > 1


def one_process_only(key: str) -> str:
    same_step = ", trainer.accumulate_grad_batches=<processes> for steps as long as theirs" if key == "lr_find" else ""
    return (
        f"{key}=true tries with one process: set trainer.devices=1{same_step}, and give the run on several "
        f"{FOUND_BY[key]}=<what was found>."
    )


ONE_PROCESS = (
    "trainer.strategy=fsdp shards the weights over several processes, and this run has one: raise trainer.devices, or "
    "use trainer=auto."
)


def sharding_problems(settings: TrainConfig) -> Iterator[str]:
    """What does not go with trainer.strategy=fsdp."""
    trainer, data, fsdp = settings.trainer, settings.data, "trainer.strategy=fsdp"
    if trainer.get("devices") in (1, "1") and trainer.get("num_nodes") == 1:
        yield ONE_PROCESS
    if str(trainer.get("precision")) not in SHARDED_PRECISIONS:
        yield (
            f"trainer.precision={trainer['precision']} is not possible with {fsdp}. Allowed: "
            f"{', '.join(SHARDED_PRECISIONS)}."
        )
    if trainer.get("sync_batchnorm"):
        yield (
            f"trainer.sync_batchnorm=true has no effect with {fsdp}: leave it out, or use trainer=ddp for a network "
            "with BatchNorm."
        )
    if settings.compile:
        yield f"compile=true is not possible with {fsdp}: leave it at false, or use trainer=ddp."
    if settings.on_nonfinite_loss == "skip":
        yield f"on_nonfinite_loss=skip is not possible with {fsdp}, where all processes have to step: leave it at stop."
    if settings.ema_decay is not None:
        yield (
            f"ema_decay={settings.ema_decay:g} averages whole weights, and {fsdp} keeps parts of them: leave it at "
            "null, use soup, or use trainer=ddp."
        )
    if data.get("cache") == "features" or data.get("cache_views"):
        key = "cache=features" if data.get("cache") == "features" else f"cache_views={data['cache_views']}"
        yield (
            f"data.{key} lets one process compute for all, and with {fsdp} none has all weights: leave it out "
            "(data.cache=images is possible), or use trainer=ddp."
        )
