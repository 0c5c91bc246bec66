"""The graph of an exported file, and how it is written."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from src.settings.errors import ConfigError, first_line
from src.training.exported_model import ExportedModel


def trace(model: ExportedModel, backbone: str) -> ExportedProgram:
    """The graph, for images of any size, one or any number. Raises ConfigError if torch cannot find it."""
    # Sizes that are equal to each other or to the network's would not be told apart from a rule.
    example = torch.zeros(1 if model.takes_one else 2, 3, 61, 83, dtype=torch.uint8)
    sizes = {place: Dim.DYNAMIC for place in ((2, 3) if model.takes_one else (0, 2, 3))}
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(model.eval(), (example,), dynamic_shapes=(sizes,))
    except Exception as error:  # of torch.export's many kinds, all of which mean this
        raise cannot_export(backbone, "torch.export", error, model.advice) from error
    forget_assertions(program)
    return program


def forget_assertions(program: ExportedProgram) -> None:
    """Whether sizes are within their limits is known of our own graphs, and a reader should not have to trust texts."""
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()


def write_onnx(program: ExportedProgram, output_names: list[str], backbone: str, file: Path) -> None:
    """Raises ConfigError if an operation has no counterpart in ONNX, or if the weights are too large for one file."""
    from onnx import save

    size = sum(value.numel() * value.element_size() for value in program.state_dict.values())
    if size >= ONNX_LIMIT:
        raise ConfigError(
            f"format=onnx: the weights of {backbone} take {size / 2**30:.1f} GiB, and one .onnx file holds less than "
            "2 GiB: use format=torch, or variants=[fp16] of a smaller network."
        )
    try:
        with quiet():
            exported = torch.onnx.export(
                program, dynamo=True, input_names=["images"], output_names=output_names, verbose=False
            )
    except Exception as error:
        raise cannot_export(backbone, "torch.onnx", error) from error
    assert exported is not None
    proto = exported.model_proto  # made anew whenever it is asked for
    name_sizes(proto)
    save(proto, str(file))


ONNX_LIMIT = 2**31 - 2**20  # protobuf's limit of a message, less what is no weight


def name_sizes(proto: Any) -> None:
    """torch calls the free sizes s34 and the like: they become N, H and W where they are the input's.

    What else is free in an output is the number of boxes, M.
    """
    (images,) = proto.graph.input
    names = {d.dim_param: new for d, new in zip(images.type.tensor_type.shape.dim, "NCHW", strict=True) if d.dim_param}
    for output in proto.graph.output:
        for dim in output.type.tensor_type.shape.dim:
            if dim.dim_param:
                names.setdefault(dim.dim_param, "M")
    for value in [*proto.graph.input, *proto.graph.output, *proto.graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_param = names[dim.dim_param]


def write_program(program: ExportedProgram, facts: dict[str, Any], file: Path) -> None:
    """A .pt2 file, whose extra file finetune.json holds the facts."""
    with quiet():
        torch.export.save(program, file, extra_files={"finetune.json": json.dumps(facts)})


def cannot_export(backbone: str, tool: str, error: Exception, advice: str = "") -> ConfigError:
    reason = first_line(error)[:300]
    return ConfigError(f"{backbone} cannot be exported: {tool} of torch {torch.__version__} says: {reason}{advice}")


@contextmanager
def quiet() -> Iterator[None]:
    """torch.export and torch.onnx warn about their own parts."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
