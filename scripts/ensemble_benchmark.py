"""What several models, and several views of an image, are worth as one: the tables of docs/predict.md.

    python -m scripts.ensemble_benchmark [--images ROOT] [--seeds 5 | --folds] [setting ...]

The settings are those of src.train, such as task=segmentation; without any it is the digits. ROOT has train/ and val/
with class folders, as the data of PyTorch's transfer-learning tutorial: its val is test here, and val is cut from its
train. The models are trained in logs/ensemble_benchmark, and those that are there already are not trained again.

Each row is measured on test. Differences are from the mean of the single models, with 95 % intervals of paired
resampling of the images (bold: without 0). Views that are not right for the data are left out, with the reason. Boxes
are also made one by other rules: NMS of all of them at 0.6, and fusion of several boxes of one detector too.
"""

import argparse
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from src.build.data import data_to_evaluate
from src.build.ensemble import open_model
from src.build.ensemble_calibration import together
from src.evaluation.boxes.average_precision import AveragePrecision
from src.evaluation.boxes.precision_recall import mean_scores
from src.evaluation.calibration import BINS, to_probabilities
from src.evaluation.evidence import Evidence
from src.evaluation.intervals import Floats, bootstrap
from src.evaluation.pixels.confusion import VOID, PixelSums, mean_metrics
from src.settings.checkpoints import find_checkpoints
from src.settings.errors import ConfigError
from src.settings.project import PROJECT_ROOT
from src.tasks.detection import combination
from src.tasks.detection.answers import BoxAnswers
from src.tasks.detection.fusion import fused_boxes
from src.tasks.segmentation.kept import image_sums
from src.training.measure import measure_split

OUT = PROJECT_ROOT / "logs" / "ensemble_benchmark"
SHOWN = ("ap", "ap50", "f1", "miou", "acc", "loss", "ece", "brier")
Measure = Callable[[Floats], dict[str, float]]  # metrics, by how often each image counts [N]
Fuse = Callable[[Sequence[Tensor]], Tensor]  # as fused_boxes


def linked(root: Path, folder: Path) -> Path:
    """A folder in which the val of `root` is test."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, split in (("train", "train"), ("test", "val")):
        if not (folder / name).exists():
            (folder / name).symlink_to((root / split).resolve(strict=True))
    return folder


def trained(images: Path | None, seeds: int, folds: bool, settings: list[str]) -> list[str]:
    """The checkpoints of the sweep, which is run if it is not there, or not to its end."""
    words = [*([images.resolve().name] if images else []), "folds" if folds else f"{seeds}_seeds", *settings]
    folder = OUT / re.sub(r"[^\w.]+", "_", " ".join(words))
    if len(list(folder.glob("*/metrics.json"))) < (5 if folds else seeds):
        data = ["data=folder", f"data.root={linked(images, OUT / images.resolve().name)}"] if images else []
        words = ["-m", "sweep=folds" if folds else f"seed=range({seeds})", *data, *settings]
        words += [f"hydra.sweep.dir={folder}", "resume=auto", "logger=none"]
        subprocess.run([sys.executable, "-m", "src.train", *words], cwd=PROJECT_ROOT, check=True)
    return [str(file) for file in find_checkpoints(str(folder))]


def nms_of_all(parts: Sequence[Tensor]) -> Tensor:
    """The surest of boxes of a class that overlap, of all detectors together."""
    rows_D6 = torch.cat(list(parts))
    return rows_D6[batched_nms(rows_D6[:, :4], rows_D6[:, 4], rows_D6[:, 5], 0.6)]  # as FCOS removes doubles


def fused_without_our_rule(parts: Sequence[Tensor]) -> Tensor:
    """Several boxes of one detector may become one, as in the paper."""
    rows_D6 = torch.cat(list(parts))
    fused = fused_boxes(list(torch.split(rows_D6, 1)) or [rows_D6])
    return torch.cat([fused[:, :4], fused[:, 4:5] * len(rows_D6) / len(parts), fused[:, 5:]], dim=1)


RULES: dict[str, Fuse] = {"": fused_boxes, ", NMS of all": nms_of_all, ", without our rule": fused_without_our_rule}


def answers(ckpt: list[str], tta: str | None = None, fuse: Fuse = fused_boxes) -> tuple[Any, Evidence]:
    """Of one model, or several as one, on test: the task, and what it keeps of each image."""
    model = open_model(ckpt, evaluate=True, tta=tta)
    with mock.patch.object(combination, "fused_boxes", fuse):
        return model.task, measure_split(model.task, model.device, data_to_evaluate({}, model.record), "test")[1]


def measure_of(task: Any, evidence: Evidence, temperature: float | None = None) -> Measure:
    if "detections" in evidence.arrays:
        boxes = BoxAnswers.of(evidence, task.output_layer())
        ranked, accepted = AveragePrecision(boxes.raw), boxes.accepted
        return lambda weights_N: ranked.metrics(weights_N) | mean_scores(accepted, weights_N)
    find = of_pixels if "pairs" in evidence.arrays else of_classes
    return find(evidence, temperature or task.temperature)


def of_classes(evidence: Evidence, temperature: float) -> Measure:
    shares_NK = to_probabilities(evidence.arrays["outputs"].astype(np.float64) / temperature, True)
    confidences_N, right_N = shares_NK.max(axis=1), (shares_NK.argmax(axis=1) == evidence.labels).astype(np.float64)
    losses_N = -np.log(np.maximum(shares_NK[np.arange(len(evidence)), evidence.labels], 1e-300))
    bins_N = np.minimum((confidences_N * BINS).astype(np.int64), BINS - 1)

    def measure(weights_N: Floats) -> dict[str, float]:
        gaps = np.bincount(bins_N, weights_N * (confidences_N - right_N), BINS)
        sums = {"acc": weights_N @ right_N, "loss": weights_N @ losses_N, "ece": np.abs(gaps).sum()}
        return {name: float(value / weights_N.sum()) for name, value in sums.items()}

    return measure


def of_pixels(evidence: Evidence, temperature: float) -> Measure:
    """The Brier score is that of the pixels that were kept with their logits."""
    sums, truth_NP = image_sums(evidence), evidence.arrays["truth"]
    known_NP = truth_NP != VOID
    squares_NP = np.zeros(truth_NP.shape)
    shares_MK = to_probabilities(evidence.arrays["logits"][known_NP].astype(np.float64) / temperature, True)
    squares_NP[known_NP] = np.square(shares_MK - np.eye(shares_MK.shape[1])[truth_NP[known_NP]]).sum(axis=1)
    columns = [np.asarray(counts_NK, dtype=np.float64) for counts_NK in (sums.right, sums.true, sums.found)]

    def measure(weights_N: Floats) -> dict[str, float]:
        found = mean_metrics(PixelSums(*(weights_N @ counts_NK for counts_NK in columns)))
        brier = weights_N @ squares_NP.sum(axis=1) / (weights_N @ known_NP.sum(axis=1))
        return found | {"brier": float(brier)}

    return measure


def mean_of(measures: Sequence[Measure]) -> Measure:
    def measure(weights_N: Floats) -> dict[str, float]:
        found = [one(weights_N) for one in measures]
        return {name: float(np.mean([values[name] for values in found])) for name in found[0]}

    return measure


def rows_of(files: list[str], single: list[tuple[Any, Evidence]], what: str) -> Iterator[tuple[str, Measure]]:
    yield f"one, mean of {len(files)}", mean_of([measure_of(*one) for one in single])
    task, evidence = single[0]
    rules = RULES if "detections" in evidence.arrays else {"": fused_boxes}
    for rule, fuse in rules.items():
        yield what + rule, measure_of(*answers(files, None, fuse))
    if "outputs" in evidence.arrays:
        yield f"{what}, no temperature", measure_of(task, together(task, [kept for _, kept in single], 1.0), 1.0)
    for tta in ("mirror", "scales"):
        try:
            for rule in list(rules)[:2]:
                several = [measure_of(*answers([file], tta, rules[rule])) for file in files]
                yield f"one, tta={tta}{rule}", mean_of(several)
                yield f"{what}, tta={tta}{rule}", measure_of(*answers(files, tta, rules[rule]))
        except ConfigError as error:
            print(f"Left out: {error}")


def markdown(rows: dict[str, Measure], images: int, groups_N: Any) -> list[str]:
    whole, first = {name: measure(np.ones(images)) for name, measure in rows.items()}, next(iter(rows))
    metrics = [name for name in SHOWN if name in whole[first]]

    def differences(weights_N: Floats) -> dict[str, float]:
        found = {name: measure(weights_N) for name, measure in rows.items()}
        return {f"{name}/{key}": found[name][key] - found[first][key] for key in metrics for name in rows}

    intervals = bootstrap(differences, images, groups_N)
    lines = ["| | " + " | difference | ".join(metrics) + " | difference |", "|---" * (1 + 2 * len(metrics)) + "|"]
    for name, values in whole.items():
        cells = [name]
        for key in metrics:
            difference, (low, high) = values[key] - whole[first][key], intervals.get(f"{name}/{key}", (0.0, 0.0))
            bold = "**" * (low * high > 0)
            text = f"{bold}{difference:+.3f}{bold} [{low:+.3f}..{high:+.3f}]" if name != first else ""
            cells += [f"{values[key]:.3f}", text]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, metavar="ROOT", help="folder with train/ and val/")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to n-1")
    parser.add_argument("--folds", action="store_true", help="sweep=folds instead of seeds")
    options, settings = parser.parse_known_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    files = trained(options.images, options.seeds, options.folds, settings)
    single = [answers([file]) for file in files]
    evidence = single[0][1]
    rows = dict(rows_of(files, single, f"{len(files)} {'folds' if options.folds else 'seeds'}"))
    print(f"{len(evidence)} test images", *markdown(rows, len(evidence), evidence.groups_N), sep="\n")


if __name__ == "__main__":
    main()
