"""What loggers need beside their settings: a package that is installed, and secrets that no setting holds. No torch."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from src.settings.errors import ConfigError

# Extras, as names of classes begin, Lightning's and ours: the module of each, and the package that has it.
PACKAGES = {"wandb": ("wandb", "wandb"), "mlflow": ("mlflow", "mlflow-skinny"), "comet": ("comet_ml", "comet-ml")}
KEYS_OF = {"wandb": "WANDB_API_KEY", "mlflow": "MLFLOW_TRACKING_TOKEN", "comet": "COMET_API_KEY"}
SECRET_KEY = re.compile(r"logger\..*(api_?key|token|passw|secret|credential)", re.IGNORECASE)
USER_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]*@")


def logger_problems(loggers: dict[str, Any]) -> Iterator[str]:
    """Of the settings `logger`, by their names."""
    for name, node in loggers.items():
        target = str(node.get("_target_")) if isinstance(node, dict) else ""
        service = service_of(target)
        if service is not None and find_spec(PACKAGES[service][0]) is None:
            package = PACKAGES[service][1]
            yield (
                f"logger.{name} needs the package {package}, which is not installed: uv sync --extra {service} (or pip "
                f"install {package}), or leave this logger out."
            )
        for key, value in flat(node, f"logger.{name}"):
            if value is not None and is_secret(key, str(value)):
                yield secret_refused(key, service)


def service_of(target: str) -> str | None:
    """wandb, mlflow or comet, by the dotted name of a logger; None for others."""
    class_name = target.rpartition(".")[2].lower()
    return next((service for service in PACKAGES if class_name.startswith(service)), None)


def flat(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in nested mappings and lists."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
    if inner is None:
        yield prefix, node
        return
    for key, value in inner:
        yield from flat(value, f"{prefix}.{key}")


def is_secret(key: str, value: str) -> bool:
    return bool(SECRET_KEY.match(key) or (key.startswith("logger.") and USER_IN_ADDRESS.search(value)))


def secret_refused(key: str, service: str | None) -> str:
    """Without the value: the message is shown and logged."""
    variable = KEYS_OF[service] if service is not None else "its environment variable"
    return (
        f"{key} holds a secret, and settings are kept in config.yaml, in checkpoints and in the log: leave it out, and "
        f"give it in the environment ({variable}), or log in once with the service's own command (docs/loggers.md)."
    )


def require_no_secret(typed: str) -> None:
    """Raise ConfigError if a `key=value` of the command line gives a logger's secret, before anything is written."""
    key, _, value = typed.lstrip("+").partition("=")
    if value and is_secret(key, value):
        raise ConfigError(secret_refused(key, next((name for name in KEYS_OF if name in key), None)))


def without_secrets(text: str) -> str:
    """A message of somebody else's, without the user and password that an address in it may have."""
    return USER_IN_ADDRESS.sub("***@", text)
