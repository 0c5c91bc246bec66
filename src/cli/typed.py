"""What the command line says of a command's settings, as Hydra has kept it."""

from hydra.core.hydra_config import HydraConfig


def typed_settings() -> dict[str, str]:
    """By dotted key, the values that the command line gives, as they were typed."""
    if not HydraConfig.initialized():
        return {}
    parts = (text.lstrip("+").partition("=") for text in HydraConfig.get().overrides.task)
    return {key: value for key, _, value in parts}


def chosen_experiment() -> str | None:
    return HydraConfig.get().runtime.choices.get("experiment") if HydraConfig.initialized() else None
