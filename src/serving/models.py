"""The three kinds of files that can be served: a checkpoint, and the .onnx and .pt2 of src.export.

Each imports what it needs when it is loaded: an .onnx file needs no torch.

Shapes: N images, H and W pixels, K classes, or targets of a regression.
"""

import json
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from src.exporting.onnx_check import ForeignPart, check_onnx
from src.files.printable import printable
from src.serving.answers import ModelFacts, Outputs, answers
from src.serving.facts import facts_of, parsed
from src.settings.errors import ConfigError, first_line


class ServedModel(ABC):
    """A model that is ready to answer. `size_px` is the height and width of the images that it takes."""

    facts: ModelFacts
    size_px: int

    @abstractmethod
    def compute(self, images_N3HW: npt.NDArray[np.uint8]) -> Outputs:
        """The outputs for RGB images, as `read_pixels` gives them."""

    def warm_up(self) -> None:
        """Answer for a black image, and for it and a grey one together: the first real one is not slower then.

        Raises ConfigError if the outputs are not what the facts ask for: a model that cannot answer is told now.
        """
        grey_N3HW = np.zeros((2, 3, self.size_px, self.size_px), dtype=np.uint8)
        grey_N3HW[1] = 128
        for count in (1, 2):
            outputs = self.compute(grey_N3HW[:count])
            self.check(outputs, count)
            json.dumps(answers(self.facts, outputs), allow_nan=False, ensure_ascii=False).encode()

    def check(self, outputs: Outputs, count: int) -> None:
        """Raise ConfigError unless these are right for so many images."""
        first = "values" if self.facts.task == "regression" else "probabilities"
        shapes: dict[str, tuple[int, ...]] = {first: (count, len(self.facts.class_names))}
        arrays = [outputs.values_NK]
        if outputs.ood_scores_N is not None:
            shapes["ood_score"], arrays = (count,), [*arrays, outputs.ood_scores_N]
        for (name, wanted), found in zip(shapes.items(), arrays, strict=True):
            what = ""
            if found.shape != wanted:
                what = f"the shape {found.shape} where its class names ask for {wanted}"
            elif found.dtype != np.float32:
                what = f"numbers of the type {found.dtype} where float32 is asked for"
            elif not np.isfinite(found).all():
                what = "numbers that are not finite, for images of one colour"
            elif name == "probabilities" and (found.min() < -PROBABILITY_SLACK or found.max() > 1 + PROBABILITY_SLACK):
                what = f"{found.min():.3g} to {found.max():.3g} where probabilities are asked for"
            if what:
                raise ConfigError(f"'{self.facts.file}' answers {name} with {what}, so it cannot be served.")


PROBABILITY_SLACK = 1e-3  # of rounding in float16


class CheckpointModel(ServedModel):
    """A checkpoint of src.train."""

    def __init__(self, path: str, accelerator: str, trust: bool = False) -> None:
        from src.build.trained_model import TrainedModel
        from src.tasks.multilabel.task import MultilabelTask

        model = TrainedModel.open(path, accelerator, trust)
        self.task, self.device = model.task, model.device
        self.facts = ModelFacts(
            file=model.file.name,
            task=model.record.task_name,
            class_names=[printable(name) for name in model.record.class_names],
            preprocessing=model.preprocessing,
            backbone=model.record.backbone_name,
            temperature=self.task.temperature,
            thresholds=self.task.calibrated_thresholds().tolist() if isinstance(self.task, MultilabelTask) else None,
            ood_score_p99=model.record.usual_ood_score,
        )
        self.size_px = self.facts.preprocessing.crop_px

    def compute(self, images_N3HW: npt.NDArray[np.uint8]) -> Outputs:
        import torch

        from src.tasks.regression.task import RegressionTask

        with torch.inference_mode():
            outputs_NK = self.task.model(torch.from_numpy(images_N3HW).to(self.device))
            if isinstance(self.task, RegressionTask):
                return Outputs(self.task.values(outputs_NK).cpu().numpy(), None)
            scores_N = self.task.ood_scores(outputs_NK)
            return Outputs(self.task.probabilities(outputs_NK).cpu().numpy(), scores_N.cpu().numpy())


class OnnxModel(ServedModel):
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
        providers = [
            name for name in ("CUDAExecutionProvider",) if name in available and accelerator in ("auto", "gpu")
        ]
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
        names = [output.name for output in self.session.get_outputs()]
        self.names = output_names(self.facts.task)
        if [given.name for given in self.session.get_inputs()] != ["images"] or not set(self.names) <= set(names):
            raise ConfigError(f"model='{file}' lacks the input images or the outputs {', '.join(self.names)}.")
        self.size_px = self.facts.preprocessing.resize_px

    def compute(self, images_N3HW: npt.NDArray[np.uint8]) -> Outputs:
        found = self.session.run(self.names, {"images": images_N3HW})
        return Outputs(found[0], found[1] if len(found) > 1 else None)


class ExportedProgramModel(ServedModel):
    """A .pt2 file of src.export: torch alone, no Lightning; on the CPU."""

    def __init__(self, file: Path, accelerator: str, trust: bool) -> None:
        if accelerator not in ("auto", "cpu"):
            raise ConfigError(f"accelerator={accelerator}: a .pt2 file is served on the CPU. Leave it at auto.")
        from src.exporting.run import load_program

        self.module, text = load_program(file, f"model='{file}'", trust)
        metadata = parsed(text)
        self.facts = facts_of(file, metadata if isinstance(metadata, dict) else {})
        self.size_px = self.facts.preprocessing.resize_px

    def compute(self, images_N3HW: npt.NDArray[np.uint8]) -> Outputs:
        import torch

        with torch.inference_mode():
            found = self.module(torch.from_numpy(images_N3HW))
        names = output_names(self.facts.task)
        if isinstance(found, dict):
            found = [found[name] for name in names]
        elif isinstance(found, torch.Tensor):
            found = [found]
        if len(found) < len(names) or not all(isinstance(output, torch.Tensor) for output in found):
            raise ConfigError(f"'{self.facts.file}' lacks the outputs {', '.join(names)}.")
        return Outputs(found[0].numpy(), found[1].numpy() if len(names) > 1 else None)


def output_names(task: str) -> list[str]:
    return ["values"] if task == "regression" else ["probabilities", "ood_score"]


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


def load_model(ckpt: str | None, model: str | None, accelerator: str, trust: bool = False) -> ServedModel:
    """What `ckpt` or `model` names, warmed up. Raises ConfigError if it cannot be served.

    `trust` lets a .pt2 file run code.
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
    try:
        served.warm_up()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"'{served.facts.file}' cannot compute an image: {first_line(error)}") from error
    return served
