"""The files that src.export writes of a checkpoint: .onnx or .pt2, and variants of it in fewer bits."""

from pathlib import Path

from src.build.trained_model import TrainedModel
from src.data.module import ImageDataModule
from src.exporting.facts import make_facts, write_facts
from src.exporting.graph import ExportedModel, trace, write_onnx, write_program
from src.exporting.images import calibration_images
from src.exporting.quantize import write_int8


class Exporter:
    """Each file comes with its .json. ConfigErrors say what cannot be exported."""

    def __init__(self, trained: TrainedModel) -> None:
        self.trained, self.backbone = trained, trained.record.backbone_name
        self.model = ExportedModel(trained.task, trained.preprocessing)
        self.facts = make_facts(trained.task, trained.record, self.model.output_names)

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
        preprocessing = self.trained.preprocessing
        if precision == "fp16":
            half = ExportedModel(self.trained.task, preprocessing, half=True)
            write_onnx(
                trace(half, self.backbone),
                half.output_names,
                self.backbone,
                file,
            )
        else:
            write_int8(source, file, calibration_images(data, preprocessing, calibrating))
        write_facts(file, {**self.facts, "precision": precision})
