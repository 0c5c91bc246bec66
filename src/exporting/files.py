"""The files that src.export writes of a checkpoint: .onnx or .pt2, variants of it in fewer bits, and their facts."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from src.build.trained_model import TrainedModel
from src.data.module import ImageDataModule
from src.exporting.graph import trace, write_onnx, write_program
from src.exporting.images import calibration_images, to_array
from src.exporting.output import FORMAT_VERSION
from src.runs.record import PACKAGES


class Exporter:
    """Each file comes with its .json. ConfigErrors say what cannot be exported."""

    def __init__(self, trained: TrainedModel) -> None:
        self.trained, self.backbone = trained, trained.backbone
        self.model = trained.task.exported()
        self.facts = make_facts(trained, self.model.output_names)

    def write(self, file: Path) -> None:
        program = trace(self.model, self.backbone)
        if file.suffix == ".onnx":
            write_onnx(program, self.model.output_names, self.backbone, file)
        else:
            write_program(program, self.facts, file)
        write_facts(file, self.facts)

    def write_variant(
        self, precision: str, file: Path, source: Path, data: ImageDataModule | None, calibrating: int
    ) -> None:
        """`source` is the .onnx file of `write`, `data` those of the training, of which int8 sees some images."""
        if precision == "fp16":
            half = self.trained.task.exported(half=True)
            write_onnx(trace(half, self.backbone), half.output_names, self.backbone, file)
        else:
            write_int8(source, file, calibration_images(data, self.trained.preprocessing, calibrating))
        write_facts(file, {**self.facts, "precision": precision})


def make_facts(trained: TrainedModel, output_names: list[str]) -> dict[str, Any]:
    """Plain data; docs/export.md explains each entry."""
    task, record = trained.task, trained.record
    outputs = task.output_layer()
    return {
        "format_version": FORMAT_VERSION,
        "task": record.task_name,
        "class_names": list(outputs.class_names),
        "preprocessing": record.preprocessing.as_dict(),
        "temperature": outputs.temperature,
        "thresholds": outputs.thresholds,
        "palette": task.prediction.palette(list(outputs.class_names)),
        "ood_score_p99": record.usual_ood_score,
        "backbone": trained.backbone,
        "precision": "fp32",
        "input": "images",
        "outputs": output_names,
        "versions": {name: record.versions.get(name) for name in PACKAGES},
    }


def write_facts(file: Path, facts: dict[str, Any]) -> None:
    """Into an .onnx file's metadata (a .pt2 file has them already), and into the .json beside it."""
    if file.suffix == ".onnx":
        import onnx

        proto = onnx.load(str(file))
        onnx.helper.set_model_props(proto, {key: json.dumps(value) for key, value in facts.items()})
        onnx.save(proto, str(file))
    text = json.dumps(facts, indent=2, ensure_ascii=False)
    file.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def write_int8(source: Path, file: Path, images: Sequence[Image.Image]) -> None:
    """Quantise the network inside `source`, an .onnx file: weights and what flows between the layers in 8 bits.

    What comes before and after the network stays in float32. Ranges are learnt from `images` by onnxruntime's static
    quantisation in its QDQ form, weights by channel and in 7 bits: processors without VNNI add pairs of products in 16
    bits, where 8 bits overflow. Convolutions and products alone, which loses less.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    batches = ({"images": to_array(image)[None]} for image in images)

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, Any] | None:
            return next(batches, None)

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
    return any(p.key == "pkg.torch.onnx.name_scopes" and "'network.net" in p.value for p in node.metadata_props)
