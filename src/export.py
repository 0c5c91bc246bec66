"""One file that answers as src.predict does, preprocessing included, from a checkpoint.

python -m src.export ckpt=<run dir or .ckpt> format=onnx|torch [output=model.onnx]
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from src.cli.command import command, importing
from src.files.outputs import output_file
from src.files.whole_files import named_errors
from src.settings.errors import ConfigError, did_you_mean

log = logging.getLogger(__name__)

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
VARIANTS = ("fp16", "int8")
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def export(cfg: DictConfig) -> None:
    """Write the file, compare it with the checkpoint, and leave it only if both answer alike."""
    output = find_output(cfg)
    check_variants(cfg)
    require_packages(cfg.format)

    with importing():
        from src.build.trained_model import TrainedModel
        from src.exporting.facts import make_facts, write_facts
        from src.exporting.graph import ExportedModel, trace, write_onnx, write_program
        from src.exporting.images import calibration_images, parity_images, run_data, test_images
        from src.exporting.latency import print_latency
        from src.exporting.parity import Comparison, check_parity, print_table
        from src.exporting.quantize import write_int8
        from src.exporting.run import open_exported

    opened = TrainedModel.open(cfg.ckpt, trust=cfg.trust, evaluate=True)
    file, record, task = opened.file, opened.record, opened.task
    preprocessing, backbone = opened.preprocessing, record.backbone_name
    data = run_data(record)
    images = parity_images(cfg.images, data, preprocessing)

    with unfinished(output, list(cfg.variants)) as parts:
        log.info("Exporting %s (%s) to %s", file, backbone, output)
        model = ExportedModel(task, preprocessing)
        facts = make_facts(task, record, model.output_names)
        require_same_facts(output, facts, list(cfg.variants), cfg.overwrite)
        program = trace(model, backbone)
        if cfg.format == "onnx":
            write_onnx(program, model.output_names, backbone, parts["fp32"])
        else:
            write_program(program, facts, parts["fp32"])
        for precision in cfg.variants:
            log.info("Making %s", named(output, precision).name)
            if precision == "fp16":
                half = ExportedModel(task, preprocessing, half=True)
                write_onnx(trace(half, backbone), half.output_names, backbone, parts[precision])
            else:
                shown = calibration_images(data, preprocessing, cfg.calibration_images)
                write_int8(parts["fp32"], parts[precision], shown)
        for precision, part in parts.items():
            write_facts(part, {**facts, "precision": precision})
        runs = {precision: open_exported(part) for precision, part in parts.items()}
        check_parity(runs["fp32"], task, preprocessing, images, output)
        compared = Comparison(task, preprocessing, runs)
        split, measured = test_images(data, preprocessing, cfg.test_images)
        compared.count(measured or [(image, None) for image in images])
        print_table(compared, split, file, parts)
        if cfg.latency:
            print_latency(model, runs, preprocessing.resize_px)
    log.info("Written: %s", ", ".join(str(named(output, precision)) for precision in parts))


# -------------------------------------------------------------------------------------------------------------- output


def find_output(cfg: DictConfig) -> Path:
    """The file to write. Raises ConfigError if it cannot be."""
    suffix = SUFFIXES[cfg.format]
    output = Path(f"model{suffix}" if cfg.output is None else cfg.output).expanduser()
    if output.is_dir():
        raise ConfigError(f"output='{output}' is a folder: give the name of a {suffix} file.")
    if output.suffix != suffix:
        raise ConfigError(f"output='{output}': with format={cfg.format} the file's name must end in {suffix}.")
    for precision in ("fp32", *cfg.variants):
        for file in (named(output, precision), named(output, precision).with_suffix(".json")):
            output_file(str(file), "output", cfg.overwrite)
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


def check_variants(cfg: DictConfig) -> None:
    for name in cfg.variants:
        if name not in VARIANTS:
            raise ConfigError(
                f"variants={list(cfg.variants)}: '{name}' is none.{did_you_mean(name, VARIANTS)} "
                f"Allowed: {', '.join(VARIANTS)}."
            )
    if cfg.variants and cfg.format != "onnx":
        raise ConfigError(
            f"variants={list(cfg.variants)} are made of format=onnx alone: use it, or leave variants empty."
        )


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
    places = {precision: named(output, precision) for precision in dict.fromkeys(["fp32", *variants])}
    parts = {precision: place.with_name(f".{place.stem}.part{place.suffix}") for precision, place in places.items()}
    try:
        with named_errors(output):
            yield parts
        for precision, part in parts.items():
            part.replace(places[precision])
            part.with_suffix(".json").replace(places[precision].with_suffix(".json"))
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
            part.with_suffix(".json").unlink(missing_ok=True)


main = command("export")(export)

if __name__ == "__main__":
    main()
