"""What src.export may write and where, and that it stands there whole or not at all. No torch."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from src.files.outputs import output_file
from src.files.whole_files import replaced
from src.settings.errors import ConfigError, did_you_mean

FORMAT_VERSION = 1  # of what the files say of themselves
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
VARIANTS = ("fp16", "int8")
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def find_output(value: str | None, format: str, variants: Sequence[str], overwrite: bool) -> Path:
    """The file to write. Raises ConfigError if it cannot be."""
    suffix = SUFFIXES[format]
    output = Path(f"model{suffix}" if value is None else value).expanduser()
    if output.is_dir():
        raise ConfigError(f"output='{output}' is a folder: give the name of a {suffix} file.")
    if output.suffix != suffix:
        raise ConfigError(f"output='{output}': with format={format} the file's name must end in {suffix}.")
    for precision in ("fp32", *variants):
        for file in (named(output, precision), named(output, precision).with_suffix(".json")):
            output_file(str(file), "output", overwrite)
    return output


def require_same_facts(output: Path, facts: dict[str, Any], variants: list[str], overwrite: bool) -> None:
    """model.onnx and model.pt2 share model.json: raises ConfigError if it would no longer be true of the other one."""
    for precision in ("fp32", *variants):
        place = named(output, precision)
        shared, own = place.with_suffix(".json"), {**facts, "precision": precision}
        others = (place.with_suffix(suffix) for suffix in SUFFIXES.values() if suffix != place.suffix)
        other = next((file for file in others if file.exists()), None)
        if overwrite or other is None or not shared.exists():
            continue
        if json.loads(shared.read_text(encoding="utf-8") or "null") != json.loads(json.dumps(own)):
            raise ConfigError(
                f"output='{output}': {shared} is about {other}, which is of another checkpoint. Give another name, or "
                "overwrite=true to write over it."
            )


def check_variants(variants: Sequence[str], format: str) -> None:
    if (name := next((name for name in variants if name not in VARIANTS), None)) is not None:
        hint = did_you_mean(name, VARIANTS)
        raise ConfigError(f"variants={list(variants)}: '{name}' is none.{hint} Allowed: {', '.join(VARIANTS)}.")
    if variants and format != "onnx":
        raise ConfigError(f"variants={list(variants)} are made of format=onnx alone: use it, or leave variants empty.")


def require_packages(format: str) -> None:
    if missing := [name for name in ONNX_PACKAGES if format == "onnx" and find_spec(name) is None]:
        raise ConfigError(
            f"format=onnx needs {' and '.join(missing)}: uv sync --extra export (or pip install {' '.join(missing)}), "
            "or use format=torch, which needs nothing more."
        )


def named(output: Path, precision: str) -> Path:
    return output if precision == "fp32" else output.with_name(f"{output.stem}_{precision}{output.suffix}")


@contextmanager
def unfinished(output: Path, variants: list[str]) -> Iterator[dict[str, Path]]:
    """Hidden files beside `output`, by precision, moved to their places when the block ends well, else removed.

    Each comes with its .json. What stood in those places stays as it was if the block fails.
    """
    with ExitStack() as stack:
        parts = {}
        for precision in dict.fromkeys(["fp32", *variants]):
            place = named(output, precision)
            parts[precision] = stack.enter_context(replaced(place))
            stack.enter_context(replaced(place.with_suffix(".json")))  # is parts[precision].with_suffix(".json")
        yield parts
