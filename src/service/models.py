"""The three kinds of files that can be served: a checkpoint, and the .onnx and .pt2 of src.export.

Each imports what it needs when it is loaded: an .onnx file needs no torch.

Shapes: N pictures, H and W pixels, K classes, or targets of a regression.
"""

import json
import logging
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from src.errors import ConfigError
from src.preprocessing import Preprocessing
from src.service.answers import ModelFacts, Outputs

log = logging.getLogger("src.service.models")

FORMAT_VERSION = 1  # of the metadata in exported files
LABELS = {"one": "classification", "several": "multilabel", "numbers": "regression"}


class ServedModel(ABC):
    """A model that is ready to answer. `size_px` is the height and width of the pictures that it takes."""

    facts: ModelFacts
    size_px: int

    @abstractmethod
    def compute(self, images_N3HW: npt.NDArray[np.uint8]) -> Outputs:
        """The outputs for RGB pictures, as `read_pixels` gives them."""

    def warm_up(self) -> None:
        """Compute a black picture: the first real one is not slower then, and a file that does not fit is told now."""
        outputs = self.compute(np.zeros((1, 3, self.size_px, self.size_px), dtype=np.uint8))
        wanted = (1, len(self.facts.class_names))
        if outputs.values_NK.shape != wanted:
            raise ConfigError(
                f"'{self.facts.file}' answers with the shape {outputs.values_NK.shape} where its class names ask for "
                f"{wanted}: export it again."
            )


class CheckpointModel(ServedModel):
    """A checkpoint of src.train."""

    def __init__(self, path: str, accelerator: str, trust: bool = False) -> None:
        from src.tasks.multilabel import MultilabelTask
        from src.trained_model import TrainedModel

        model = TrainedModel.open(path, accelerator, trust)
        self.task, self.device = model.task, model.device
        self.facts = ModelFacts(
            file=model.file.name,
            task=LABELS[model.record["config"]["task"]["labels"]],
            class_names=model.record["class_names"],
            preprocessing=model.preprocessing,
            backbone=model.backbone,
            temperature=self.task.temperature,
            thresholds=self.task.calibrated_thresholds().tolist() if isinstance(self.task, MultilabelTask) else None,
            ood_score_p99=model.usual_ood_score,
        )
        self.size_px = self.facts.preprocessing.crop_px

    def compute(self, images_N3HW: npt.NDArray[np.uint8]) -> Outputs:
        import torch

        from src.tasks.regression import RegressionTask

        with torch.inference_mode():
            outputs_NK = self.task.model(torch.from_numpy(images_N3HW).to(self.device))
            if isinstance(self.task, RegressionTask):
                return Outputs(self.task.values(outputs_NK).cpu().numpy(), None)
            scores_N = self.task.ood_scores(outputs_NK)
            return Outputs(self.task.probabilities(outputs_NK).cpu().numpy(), scores_N.cpu().numpy())


class OnnxModel(ServedModel):
    """An .onnx file of src.export, which resizes and crops by itself: here pictures come resized, with a margin."""

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
        try:
            self.session = onnxruntime.InferenceSession(file, options, [*providers, "CPUExecutionProvider"])
        except Exception as error:
            raise ConfigError(f"model='{file}' cannot be read by onnxruntime: {first_line(error)}") from error
        self.facts = facts_of(file, self.session.get_modelmeta().custom_metadata_map)
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

    def __init__(self, file: Path, accelerator: str) -> None:
        if accelerator not in ("auto", "cpu"):
            raise ConfigError(f"accelerator={accelerator}: a .pt2 file is served on the CPU. Leave it at auto.")
        import torch

        extra_files: dict[str, Any] = {"finetune.json": ""}
        logging.getLogger("torch.export").setLevel(logging.ERROR)  # it warns with a traceback of what it raises anyway
        try:
            program = torch.export.load(file, extra_files=extra_files)
        except Exception as error:
            raise ConfigError(f"model='{file}' cannot be read by torch.export.load: {first_line(error)}") from error
        try:
            metadata = json.loads(extra_files["finetune.json"] or "{}")
        except ValueError:
            metadata = {}
        self.facts = facts_of(file, {key: json.dumps(value) for key, value in metadata.items()})
        self.module = program.module()
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
        return Outputs(found[0].numpy(), found[1].numpy() if len(names) > 1 else None)


def output_names(task: str) -> list[str]:
    return ["values"] if task == "regression" else ["probabilities", "ood_score"]


def load_model(ckpt: str | None, model: str | None, accelerator: str) -> ServedModel:
    """What `ckpt` or `model` names, warmed up. Raises ConfigError if it cannot be served."""
    served: ServedModel
    try:
        if ckpt is not None:
            served = CheckpointModel(ckpt, accelerator)
        else:
            assert model is not None
            file = Path(model).expanduser()
            served = OnnxModel(file, accelerator) if file.suffix == ".onnx" else ExportedProgramModel(file, accelerator)
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
        raise ConfigError(f"'{served.facts.file}' cannot compute a picture: {first_line(error)}") from error
    return served


def facts_of(file: Path, metadata: dict[str, str]) -> ModelFacts:
    """The facts in an exported file, each encoded as JSON. Raises ConfigError if it is not one of src.export's."""
    try:
        values = {key: json.loads(metadata[key]) for key in ("format_version", "task", "class_names", "preprocessing")}
        values |= {
            key: json.loads(metadata[key])
            for key in ("temperature", "thresholds", "ood_score_p99", "backbone")
            if key in metadata
        }
        if values["format_version"] != FORMAT_VERSION:
            raise ConfigError(
                f"model='{file}' has the format version {values['format_version']}, and this program knows "
                f"{FORMAT_VERSION}: export it with the version of the project that serves it."
            )
        return ModelFacts(
            file=file.name,
            task=values["task"],
            class_names=values["class_names"],
            preprocessing=Preprocessing.from_dict(values["preprocessing"]),
            backbone=values.get("backbone", ""),
            temperature=values.get("temperature") or 1.0,
            thresholds=values.get("thresholds"),
            ood_score_p99=values.get("ood_score_p99"),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"model='{file}' was not written by python -m src.export: it does not say what its classes are."
        ) from error


def first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
