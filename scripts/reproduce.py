"""Run recipes and the plain loop over several seeds, and print the table of results.

    python -m scripts.reproduce [HYMENOPTERA] [--grocery FOLDER] [--bccd VOC_ROOT] [--rows NAME ...] [--data NAME ...]
        [--seeds 5]

HYMENOPTERA is the folder with train/ and val/ of the data of PyTorch's transfer-learning tutorial
(pytorch.org/tutorials/beginner/transfer_learning_tutorial.html names the download), VOC_ROOT that of the blood cells of
BCCD (github.com/Shenggan/BCCD_Dataset), --grocery that of the Grocery Store data set (Klasson et al. 2019, WACV), with
a table.csv of path, label and split; without them only the digits run. Boxes are measured by their AP50, pixels by
their mean IoU, objects with masks by the AP50 of their masks.
The digits with a long tail have 115 zeros down to 3 nines in train, by an equal factor from class to class, as Cui et
al. 2019 (arXiv 1901.05555) cut CIFAR; val and test are as ever.
Runs go to logs/reproduce, and those that are there already are not run again. With --jobs 2, two run at a time with
half of the cores each: times are longer then, on both sides of a comparison, and results differ by rounding.
"""

import argparse
import csv
import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from src.evaluation.significance import t_interval
from src.settings.project import PROJECT_ROOT

RUNS = PROJECT_ROOT / "logs" / "reproduce"


@dataclass(frozen=True)
class Row:
    """One line of the table: what it is called, and the settings of src.train, or the options of the plain loop."""

    name: str
    data: str
    settings: tuple[str, ...] = ()
    plain: bool = False

    @property
    def folder(self) -> Path:
        return RUNS / self.data.replace(", ", "_").replace(" ", "_") / self.name.replace(" ", "_")

    @property
    def score(self) -> str:
        return SCORES.get(self.data, "acc")

    def command(self, roots: dict[str, Path], seed: int) -> list[str]:
        folder, root = self.folder / f"seed={seed}", roots.get(self.data)
        if self.plain:
            loop = {"bccd": "plain_detection_loop", "digit scenes, pixels": "plain_segmentation_loop"}
            given = [] if root is None else [str(root)]
            options = [*given, *self.settings, f"--seed={seed}", f"--json={folder}/metrics.json"]
            return [sys.executable, "-m", f"scripts.{loop.get(self.data, 'plain_loop')}", *options]
        data = {
            "digits": [],
            "digits, long tail": [f"data.split_file={RUNS / LONG_TAIL}"],
            "hymenoptera": ["data=folder", f"data.root={root}"],
            "digit scenes": ["task=detection"],
            "digit scenes, pixels": ["task=segmentation"],
            "digit scenes, masks": ["task=instance_segmentation"],
            "bccd": ["task=detection", "data=voc", f"data.root={root}"],
            "groceries": ["data=folder", f"data.root={root}"],
            QUARTER: ["data=folder", f"data.root={root}"],
        }[self.data]
        settings = [*data, *self.settings, f"seed={seed}", f"output_dir={folder}", "logger=none"]
        return [sys.executable, "-m", "src.train", *settings]


SCORES = {"digit scenes": "ap50", "bccd": "ap50", "digit scenes, pixels": "miou", "digit scenes, masks": "mask_ap50"}
LONG_TAIL = "digits_long_tail.csv"
GROCERIES = "groceries_by_class"
QUARTER = "groceries, a quarter"  # of the training images of each class
LITE0_FILE = "lite0.safetensors"  # scripts/convert_efficientnet.py
LITE0 = ("backbone=timm/tf_efficientnet_lite0", f"backbone.weights={RUNS / LITE0_FILE}")
SMALL = ("experiment=full", "trainer.max_epochs=6", "data.image_size_px=128", "data.cache=images")
HEAD_25 = ("freeze=head_only", "optimizer=sgd", "augment=light", "trainer.max_epochs=25")
TRAINING_NORMS = "freeze.batch_norm=false"
FLIPPED = "augment.vertical_flip=0.5"  # cells have no up and down


def norms_compared(name: str, data: str, *settings: str) -> tuple[Row, Row]:
    """EfficientNet-Lite0 with BatchNorm as pretrained, and with BatchNorm that trains."""
    settings = (*LITE0, *settings)
    return Row(name, data, settings), Row(f"{name}, training norms", data, (*settings, TRAINING_NORMS))


ROWS = [
    Row("default", "digits"),
    Row("random weights", "digits", ("backbone.weights=null",)),
    Row("head only", "digits", ("freeze=head_only",)),
    Row("pretrained classes", "digits", ("head.start=pretrained",)),
    Row("plain loop", "hymenoptera", ("--channels-last",), plain=True),
    Row("plain loop, head only", "hymenoptera", ("--channels-last", "--head-only"), plain=True),
    Row("random weights", "hymenoptera", ("experiment=full", "backbone.weights=null")),
    Row("known_classes", "hymenoptera", ("experiment=known_classes",)),
    Row("linear_probe", "hymenoptera", ("experiment=linear_probe",)),
    Row("head, 25 epochs", "hymenoptera", HEAD_25),
    Row("head, 25 epochs, fresh views", "hymenoptera", (*HEAD_25, "data.cache=none")),
    Row("head, 25 epochs, 4 views", "hymenoptera", (*HEAD_25, "data.cache_views=4")),
    Row("head, 25 epochs, 8 views", "hymenoptera", (*HEAD_25, "data.cache_views=8")),
    Row("full", "hymenoptera", ("experiment=full",)),
    Row("lp_ft", "hymenoptera", ("experiment=lp_ft",)),
    Row("small_data", "hymenoptera", ("experiment=small_data",)),
    Row("fastai", "hymenoptera", ("experiment=fastai",)),
    Row("new_classes", "hymenoptera", ("experiment=new_classes",)),
    Row("auto", "hymenoptera", ("recipe=auto",)),
    Row("auto", "groceries", ("recipe=auto",)),
    Row("plain loop", "groceries", ("--channels-last", "--epochs=5"), plain=True),
    Row("fastai", "groceries", ("experiment=fastai",)),
    Row("full", "groceries", ("experiment=full", "trainer.max_epochs=6")),
    Row("known_classes", "groceries", ("experiment=known_classes",)),
    Row("linear_probe", "groceries", ("experiment=linear_probe",)),
    Row("lp_ft", "groceries", ("experiment=lp_ft", "trainer.max_epochs=6")),
    Row("small_data", "groceries", ("experiment=small_data", "trainer.max_epochs=6")),
    Row("auto", QUARTER, ("recipe=auto",)),
    Row("full", QUARTER, ("experiment=full",)),
    Row("known_classes", QUARTER, ("experiment=known_classes",)),
    Row("plain loop", QUARTER, ("--channels-last", "--epochs=12"), plain=True),
    Row("small_data", QUARTER, ("experiment=small_data",)),
    Row("lp_ft", QUARTER, ("experiment=lp_ft",)),
    Row("linear_probe", QUARTER, ("experiment=linear_probe",)),
    Row("fastai", QUARTER, ("experiment=fastai",)),
    Row("Lite0, linear_probe", "hymenoptera", (*LITE0, "experiment=linear_probe")),
    Row("Lite0, kept features", "hymenoptera", (*LITE0, "experiment=linear_probe", "augment=none")),
    *norms_compared("Lite0, known_classes", "hymenoptera", "experiment=known_classes"),
    *norms_compared("Lite0, new_classes", "hymenoptera", "experiment=new_classes"),
    *norms_compared("Lite0, full", "hymenoptera", "experiment=full"),
    *norms_compared("Lite0, fastai", "hymenoptera", "experiment=fastai"),
    *norms_compared("Lite0, 128 px", "hymenoptera", *SMALL),
    *norms_compared("Lite0, new_classes", "groceries", "experiment=new_classes", "trainer.max_epochs=6"),
    *norms_compared("Lite0, full", "groceries", "experiment=full", "trainer.max_epochs=6"),
    *norms_compared("Lite0, new_classes", QUARTER, "experiment=new_classes"),
    *norms_compared("Lite0, full", QUARTER, "experiment=full"),
    *norms_compared("Lite0, AdamW at 128 px", QUARTER, "trainer.max_epochs=5", *SMALL[2:]),
    *norms_compared("Lite0, fastai at 128 px", QUARTER, "experiment=fastai", *SMALL[2:]),
    Row("default", "digits, long tail"),
    Row("long_tail", "digits, long tail", ("experiment=long_tail",)),
    Row("logit_adjusted", "digits, long tail", ("loss=logit_adjusted",)),
    Row("default", "digit scenes"),
    Row("random weights", "digit scenes", ("backbone.weights=null",)),
    Row("default", "digit scenes, pixels"),
    Row("random weights", "digit scenes, pixels", ("backbone.weights=null",)),
    Row("plain loop", "digit scenes, pixels", plain=True),
    Row("plain loop, AdamW", "digit scenes, pixels", ("--adamw",), plain=True),
    Row("default", "digit scenes, masks"),
    Row("plain loop", "bccd", plain=True),
    Row("boxes", "bccd", ("experiment=boxes", FLIPPED)),
    Row("random weights", "bccd", ("experiment=boxes", FLIPPED, "backbone.weights=null")),
]


def write_long_tailed_digits() -> None:
    """A split file for the digits that leaves 115 zeros to 3 nines in train."""
    from src.data.formats.digit_images import DIGITS_FILE, digit_path
    from src.data.splits import cut

    with np.load(DIGITS_FILE) as file:
        labels_N = file["labels"].astype(np.int64)
    parts = cut(labels_N, {"val": 0.15, "test": 0.2}, seed=0)  # as conf/data/digits.yaml
    split_of = {int(row): split for split, rows in parts.items() for row in rows}
    for digit in range(10):
        rows = parts["train"][labels_N[parts["train"]] == digit]
        split_of |= dict.fromkeys(rows[round(len(rows) * 40 ** (-digit / 9)) :].tolist(), "")
    file = RUNS / LONG_TAIL
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{digit_path(row)},{split_of[row]}" for row in range(len(labels_N))]
    file.write_text("\n".join(["path,split", *rows, ""]), encoding="utf-8")


def write_groceries(root: Path, folder: Path, every: int) -> None:
    """A folder per class of links to the images, since in the data's own folders classes lie at several depths.

    In train one of `every` images of each class.
    """
    with (root / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: (row["split"], row["label"], row["path"]))
    for split, label in itertools.product(("train", "val"), {row["label"] for row in rows}):
        (folder / split / label).mkdir(parents=True, exist_ok=True)  # val lacks some: a plain loop numbers all
    for (split, label), images in itertools.groupby(rows, key=lambda row: (row["split"], row["label"])):
        for row in itertools.islice(images, 0, None, every if split == "train" else 1):
            link = folder / split / label / Path(row["path"]).name
            if not link.exists():
                link.symlink_to(root / row["path"])


def write_lite0() -> None:
    """EfficientNet-Lite0's ImageNet weights, of a package in the group dev."""
    from safetensors.torch import save_file

    from scripts.convert_efficientnet import converted

    RUNS.mkdir(parents=True, exist_ok=True)
    save_file(converted(), RUNS / LITE0_FILE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hymenoptera", type=Path, nargs="?", help="folder with train/ and val/")
    parser.add_argument("--grocery", type=Path, metavar="FOLDER", help="folder with table.csv and the images")
    parser.add_argument("--bccd", type=Path, metavar="VOC_ROOT", help="folder with Annotations, JPEGImages, ImageSets")
    parser.add_argument("--rows", nargs="+", help="names of rows; all others are left out")
    parser.add_argument("--data", nargs="+", help="names of data; all others are left out")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to n-1 of each row")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    options = parser.parse_args()
    for option, known in (("rows", {row.name for row in ROWS}), ("data", {row.data for row in ROWS})):
        if unknown := set(getattr(options, option) or ()) - known:
            parser.error(f"--{option}: there is no '{sorted(unknown)[0]}'. There are: {'; '.join(sorted(known))}.")
    given = {
        "hymenoptera": (options.hymenoptera, "val"),
        "bccd": (options.bccd, "Annotations"),
        "groceries": (options.grocery, "train"),
        QUARTER: (options.grocery, "train"),
    }
    for root, folder in given.values():
        if root is not None and not (root / folder).is_dir():
            parser.error(f"'{root}' has no folder {folder}.")
    roots = {data: root.resolve() for data, (root, _) in given.items() if root is not None}
    chosen = [row for row in ROWS if options.rows is None or row.name in options.rows]
    chosen = [row for row in chosen if options.data is None or row.data in options.data]
    chosen = [row for row in chosen if row.data not in given or row.data in roots]
    if any(row.data == "digits, long tail" for row in chosen):
        write_long_tailed_digits()
    for data, every in (("groceries", 1), (QUARTER, 4)):
        if any(row.data == data for row in chosen):
            write_groceries(roots[data], RUNS / f"{GROCERIES}_{every}", every)
            roots[data] = RUNS / f"{GROCERIES}_{every}"
    if any(LITE0[0] in row.settings for row in chosen):
        write_lite0()

    def run(job: tuple[Row, int, list[str]]) -> None:
        row, seed, command = job
        folder = row.folder / f"seed={seed}"
        if (folder / "metrics.json").exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        environ = {**os.environ}
        if options.jobs > 1:
            environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // options.jobs))
        with (folder / "output.txt").open("w") as output:
            done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=environ, cwd=PROJECT_ROOT)
        ended = "done" if done.returncode == 0 else f"failed, see {folder}/output.txt"
        print(f"{row.data}, {row.name}, seed {seed}: {ended}", flush=True)

    # Seed by seed, so that the sides of a comparison meet the same state of the machine.
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(run, [(row, seed, row.command(roots, seed)) for seed in range(options.seeds) for row in chosen]))
    show(chosen, options.seeds)


def results(row: Row, seeds: int) -> Iterator[dict[str, Any]]:
    """For each finished seed: score of the last epoch on val, on test, seconds, and of plain loops the curve."""
    for seed in range(seeds):
        file = row.folder / f"seed={seed}" / "metrics.json"
        if not file.exists():
            continue
        found = json.loads(file.read_text(encoding="utf-8"))
        test = found.get(f"test/{row.score}")
        if row.plain:
            seconds = found["fit_end"] - found["fit_start"]
            curve = [(epoch["seconds"], epoch[f"val/{row.score}"]) for epoch in found["epochs"]]
            scores = {"val": curve[-1][1], "test": test}
            yield {"seed": seed, **scores, "seconds": seconds, "curve": curve, "epochs": len(curve)}
        else:
            seconds, epochs = found["fit_seconds"], found["epochs"]
            scores = {"val": found[f"last/val/{row.score}"], "test": test}
            yield {"seed": seed, **scores, "seconds": seconds, "epochs": epochs}


def after(curve: list[tuple[float, float]], seconds: float) -> float:
    """Score of a plain loop's last epoch that had ended after so many seconds; of its first if none had."""
    gone, score = 0.0, curve[0][1]
    for duration, value in curve:
        gone += duration
        if gone > seconds:
            break
        score = value
    return score


def show(rows: list[Row], seeds: int) -> None:
    """The table. Differences are in points, with the 95 % interval of their mean over seeds (Student's t, paired)."""
    table = Table(title=f"Last epoch (test: best epoch), mean (min..max), {seeds} seeds", title_justify="left")
    headings = ("epochs", "fit", "score", "val", "test", "above plain loop", "plain loop after that time", "above that")
    for name in ("data", "row", *headings):
        table.add_column(name, justify="left" if name in ("data", "row") else "right")
    found = {(row.data, row.name): list(results(row, seeds)) for row in rows}
    for row in rows:
        if not (runs := found[row.data, row.name]):
            continue
        fit = statistics.median(run["seconds"] for run in runs)
        tests = [run["test"] for run in runs if run.get("test") is not None]
        # Seed by seed, since the machine may have been slower for some, then for both sides.
        plain = {run["seed"]: run for run in found.get((row.data, "plain loop"), []) if not row.plain}
        runs_there = [run for run in runs if run["seed"] in plain]
        values = [run["val"] for run in runs_there]
        whole = [plain[run["seed"]]["val"] for run in runs_there]
        equal = [after(plain[run["seed"]]["curve"], run["seconds"]) for run in runs_there]
        texts = [spread([run["val"] for run in runs]), spread(tests), gain(values, whole), spread(equal)]
        table.add_row(
            row.data, row.name, str(runs[0]["epochs"]), f"{fit:.0f} s", row.score, *texts, gain(values, equal)
        )
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def gain(ours: list[float], theirs: list[float]) -> str:
    if len(ours) < 2:
        return ""
    points = [100 * (a - b) for a, b in zip(ours, theirs, strict=True)]
    return "{:+.1f} ({:+.1f}..{:+.1f})".format(statistics.mean(points), *t_interval(points))


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ({min(values):.3f}..{max(values):.3f})" if values else ""


if __name__ == "__main__":
    main()
