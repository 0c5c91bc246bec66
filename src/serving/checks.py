"""Mistakes in the settings of src.serve that can be told before anything is imported."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.settings.errors import ConfigError


def check_model(ckpt: str | None, model: str | None) -> None:
    """Raise ConfigError unless one model is named, by a setting that goes with its kind."""
    if (ckpt is None) == (model is None):
        raise ConfigError(
            "Give either ckpt=<run dir or .ckpt> or model=<model.onnx or model.pt2>"
            + (", not both." if ckpt is not None else ".")
        )
    if ckpt is not None and Path(ckpt).suffix in (".onnx", ".pt2"):
        raise ConfigError(f"ckpt='{ckpt}' is an exported file: give model={ckpt}.")
    if model is not None:
        file = Path(model).expanduser()
        if file.is_dir() or file.suffix == ".ckpt":
            raise ConfigError(f"model='{model}' is a run or a checkpoint: give ckpt={model}.")
        if file.suffix not in (".onnx", ".pt2"):
            raise ConfigError(f"model='{model}' is neither an .onnx nor a .pt2 file, as src.export writes them.")


def check_limits(max_images: int, max_pending: int, max_megapixels: float, decode_megapixels: float | None) -> None:
    """Raise ConfigError where one limit makes another one meaningless."""
    if max_images > max_pending:
        raise ConfigError(
            f"max_images={max_images} is more than max_pending={max_pending}: such a request could never "
            "be answered. Raise max_pending."
        )
    if decode_megapixels is not None and decode_megapixels < max_megapixels:
        raise ConfigError(
            f"decode_megapixels={decode_megapixels:g} is less than max_megapixels={max_megapixels:g}, which "
            "one image may have: raise the former, or lower the latter."
        )


@contextmanager
def packages_needed() -> Iterator[None]:
    """For imports. Raises ConfigError, which says what to install, if one of them fails."""
    try:
        import python_multipart  # noqa: F401 - Starlette would miss it only when a form comes

        yield
    except ImportError as error:
        raise ConfigError(
            f"python -m src.serve needs the package {error.name}, which is not installed: uv sync --extra serve "
            "(or pip install starlette uvicorn python-multipart prometheus-client onnxruntime)."
        ) from error
