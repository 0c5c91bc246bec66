"""The three kinds of files that can be served: a checkpoint, and the .onnx and .pt2 of src.export.

Each imports what it needs when it is loaded: an .onnx file needs no torch.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from src.evaluation.prediction import Outputs
from src.exporting.onnx_check import ForeignPart, check_onnx
from src.files.printable import printable
from src.predicting.output import require_use
from src.serving.facts import ModelFacts, facts_of, parsed
from src.serving.pixels import Pixels, Size
from src.serving.served_model import ExportedModel, ServedModel
from src.settings.errors import ConfigError, first_line


class CheckpointModel(ServedModel):
    """A checkpoint of src.train, or several together."""

    def __init__(self, ckpt: str | Sequence[str], accelerator: str, trust: bool = False) -> None:
        from src.build.ensemble import open_model

        model = open_model(ckpt, accelerator, trust)
        self.task, self.device, self.layer = model.task, model.device, model.task.output_layer()
        self.facts = ModelFacts(
            file=model.file.name,
            task=model.record.task_name,
            class_names=[printable(name) for name in self.layer.class_names],
            preprocessing=model.preprocessing,
            backbone=model.backbone,
            temperature=self.layer.temperature or 1.0,
            thresholds=self.layer.thresholds,
            ood_score_p99=model.record.usual_ood_score,
        )
        preprocessing = self.facts.preprocessing
        self.size_px = preprocessing.resize_px if preprocessing.keeps_shape else preprocessing.crop_px

    def compute(self, images: Sequence[Pixels], sizes_wh: Sequence[Size]) -> Outputs:
        import torch

        from src.data.dataset import on_device, stacked
        from src.models.by_shape import outputs_by_shape

        with torch.inference_mode():
            given = on_device(stacked([torch.from_numpy(image) for image in images]), self.device)
            outputs = outputs_by_shape(self.task.model, given)
            return self.layer.arrays(self.task.placed(outputs, torch.tensor(sizes_wh)))


class OnnxModel(ExportedModel):
    """An .onnx file of src.export, which resizes and crops by itself: here images come resized, with a margin."""

    def __init__(self, file: Path, accelerator: str) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigError(
                f"model='{file}' needs onnxruntime, which is not installed: uv sync --extra serve "
                "(or pip install onnxruntime)."
            ) from error
        available = onnxruntime.get_available_providers()
        providers = [name for name in available if name == "CUDAExecutionProvider" and accelerator in ("auto", "gpu")]
        if accelerator not in ("auto", "cpu") and not providers:
            raise ConfigError(
                f"accelerator={accelerator}: onnxruntime has no such device here, only {', '.join(available)}. "
                "Leave it at auto, or install onnxruntime-gpu instead of onnxruntime."
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # its warnings are about its own graph transformations
        options.add_session_config_entry("session.load_model_format", "ONNX")  # what was checked, whatever its begin
        content = read_onnx(file)
        try:
            self.session = onnxruntime.InferenceSession(content, options, [*providers, "CPUExecutionProvider"])
        except Exception as error:
            raise ConfigError(f"model='{file}' cannot be read by onnxruntime: {first_line(error)}") from error
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.facts = facts_of(file, {key: parsed(text) for key, text in metadata.items()})
        names, wanted = [output.name for output in self.session.get_outputs()], self.output_names
        if [given.name for given in self.session.get_inputs()] != ["images"] or not set(wanted) <= set(names):
            raise ConfigError(f"model='{file}' lacks the input images or the outputs {', '.join(wanted)}.")
        self.size_px = self.facts.preprocessing.resize_px

    def run(self, images_N3HW: Pixels) -> Outputs:
        found = self.session.run(self.output_names, {"images": images_N3HW})
        return dict(zip(self.output_names, found, strict=True))


class ExportedProgramModel(ExportedModel):
    """A .pt2 file of src.export: torch alone, no Lightning; on the CPU."""

    def __init__(self, file: Path, accelerator: str, trust: bool) -> None:
        if accelerator not in ("auto", "cpu"):
            raise ConfigError(f"accelerator={accelerator}: a .pt2 file is served on the CPU. Leave it at auto.")
        from src.exporting.run import load_program

        self.module, text = load_program(file, f"model='{file}'", trust)
        metadata = parsed(text)
        self.facts = facts_of(file, metadata if isinstance(metadata, dict) else {})
        self.size_px = self.facts.preprocessing.resize_px

    def run(self, images_N3HW: Pixels) -> Outputs:
        import torch

        with torch.inference_mode():
            found = self.module(torch.from_numpy(images_N3HW))
        if isinstance(found, torch.Tensor):
            found = [found]
        named = found if isinstance(found, dict) else dict(zip(self.output_names, found, strict=False))
        if not all(isinstance(named.get(name), torch.Tensor) for name in self.output_names):
            raise ConfigError(f"'{self.facts.file}' lacks the outputs {', '.join(self.output_names)}.")
        return {name: named[name].numpy() for name in self.output_names}


def read_onnx(file: Path) -> bytes:
    """The file's content, complete in itself. Raises ConfigError if it is not, or no .onnx file."""
    try:
        content = file.read_bytes()
        check_onnx(content)
    except ForeignPart as part:
        raise ConfigError(
            f"model='{file}' is not loaded: it has {part}. src.export writes one file, of standard operations."
        ) from part
    except (ValueError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is no .onnx file ({error})"
        raise ConfigError(f"model='{file}' cannot be read by onnxruntime: {reason}.") from error
    return content


def load_model(
    ckpt: str | Sequence[str] | None,
    model: str | None,
    accelerator: str,
    trust: bool = False,
    score_threshold: float | None = None,
) -> ServedModel:
    """What `ckpt` or `model` names, warmed up. Raises ConfigError if it cannot be served.

    `trust` lets a .pt2 file run code; `score_threshold` is of boxes, instead of the model's own.
    """
    served: ServedModel
    try:
        if ckpt is not None:
            served = CheckpointModel(ckpt, accelerator, trust)
        else:
            assert model is not None
            file = Path(model).expanduser()
            if not file.is_file():  # a pipe would be waited for
                raise ConfigError(f"model='{file}' is no file.")
            if file.suffix == ".onnx":
                served = OnnxModel(file, accelerator)
            else:
                served = ExportedProgramModel(file, accelerator, trust)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{f'ckpt={ckpt}' if ckpt else f'model={model}'} needs the package {error.name}, which is not installed: "
            "uv sync --extra serve, or serve an .onnx file of src.export, which needs no torch."
        ) from error
    require_use(served.prediction, score_threshold=score_threshold)
    if score_threshold is not None:
        served.facts = replace(served.facts, thresholds=[score_threshold] * len(served.facts.class_names))
    try:
        served.warm_up()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"'{served.facts.file}' cannot compute an image: {first_line(error)}") from error
    return served
