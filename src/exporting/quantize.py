"""int8: weights and what flows between the layers in 8 bits, with ranges learnt from training images."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from src.exporting.images import to_array

log = logging.getLogger(__name__)


def write_int8(source: Path, file: Path, images: Sequence[Image.Image]) -> None:
    """Quantise the network inside `source`, an .onnx file; what comes before and after it stays in float32.

    onnxruntime's static quantisation in its QDQ form, weights by channel and in 7 bits: processors without VNNI add
    pairs of products in 16 bits, where 8 bits overflow. Convolutions and products alone, which loses less.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches: Iterator[dict[str, Any]] = ({"images": to_array(p)[None]} for p in images)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    nodes = onnx.load(str(source)).graph.node
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it advises to do what was done already
    try:
        quantize_static(
            str(source),
            str(file),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
            nodes_to_exclude=[node.name for node in nodes if not is_inside_network(node)],
        )
    finally:
        logging.root.setLevel(level)


def is_inside_network(node: Any) -> bool:
    """By the name of the module that torch notes for each node."""
    return any(p.key == "pkg.torch.onnx.name_scopes" and "'network.net'" in p.value for p in node.metadata_props)
