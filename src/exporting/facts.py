"""What an exported file says about itself: in its metadata, and in the .json beside it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.runs.record import PACKAGES, RunRecord

if TYPE_CHECKING:
    from src.training.scores_task import ScoresTask

FORMAT_VERSION = 1


def make_facts(task: "ScoresTask", record: RunRecord, output_names: list[str]) -> dict[str, Any]:
    """Plain data; docs/export.md explains each entry."""
    outputs = task.output_layer()
    return {
        "format_version": FORMAT_VERSION,
        "task": record.task_name,
        "class_names": list(outputs.class_names),
        "preprocessing": record.preprocessing.as_dict(),
        "temperature": outputs.temperature,
        "thresholds": outputs.thresholds,
        "ood_score_p99": record.usual_ood_score,
        "backbone": record.backbone_name,
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
