"""How well the list of label issues finds errors that were planted: some labels are changed, all else is real.

    python -m scripts.planted_label_errors [--images ROOT] [--share 0.05] [--seeds 5] [--folder DIR] [setting ...]

ROOT is a folder with a folder per class, or with train/ and val/ of these; without it, the digits are taken. The
settings are those of src.train, such as experiment=linear_probe. Each seed changes the labels of other images to
another class, drawn at random, and runs sweep=folds; a sweep that is there already is not run again.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

from src.data.decode import IMAGE_SUFFIXES
from src.data.formats.digit_images import DIGITS_FILE, read_digit
from src.files.csv_files import read_table, write_csv_file
from src.runs.finished_runs import runs_of
from src.sweeps.held_out import read_held_out
from src.sweeps.label_issues import find_label_issues

COLUMNS = ("images", "planted", "listed", "precision", "recall", "suggestion right")


def draw_digits(folder: Path) -> Path:
    """The digits as files, in a folder per class."""
    with np.load(DIGITS_FILE) as file:
        labels = file["labels"].tolist()
    for row, label in enumerate(labels):
        file = folder / str(label) / f"{row:04d}.png"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            read_digit(row).save(file)
    return folder


def plant(images: Path, table: Path, share: float, seed: int) -> None:
    """A table with path, label and the true label."""
    files = sorted(file for file in images.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    truth = [file.parent.name for file in files]
    names, labels, generator = sorted(set(truth)), list(truth), np.random.default_rng(seed)
    for n in generator.choice(len(files), round(share * len(files)), replace=False).tolist():
        labels[n] = str(generator.choice([name for name in names if name != truth[n]]))
    rows = list(zip(map(str, files), labels, truth, strict=True))
    write_csv_file(table, ["path", "label", "truth"], rows)


def measure(sweep: Path, truth: dict[str, str]) -> list[float]:
    """Of the list of a sweep: labels listed, precision, recall, and how many of the true finds have the right class."""
    held_out = read_held_out(runs := runs_of(str(sweep)))
    planted = {n for n, path in enumerate(held_out.paths) if truth[path] != held_out.labels[n]}
    listed = find_label_issues(runs).suspects
    found = [one for one in listed if one.image in planted]
    right = [one for one in found if one.suggested == truth[held_out.paths[one.image]]]
    precision, suggested = (len(part) / max(len(whole), 1) for part, whole in ((found, listed), (right, found)))
    return [len(held_out), len(planted), len(listed), precision, len(found) / max(len(planted), 1), suggested]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("logs/planted"))
    options, settings = parser.parse_known_args()
    rows = []
    options.folder.mkdir(parents=True, exist_ok=True)
    images = options.images or draw_digits(options.folder / "digits")
    for seed in range(options.seeds):
        table, sweep = options.folder / f"seed={seed}.csv", options.folder / f"seed={seed}"
        if not (sweep / "out_of_fold.csv").exists():
            plant(images.resolve(), table, options.share, seed)
            subprocess.run(
                [
                    sys.executable, "-m", "src.train", "sweep=folds", "data=csv", f"data.file={table}",
                    "data.label_columns=label", f"hydra.sweep.dir={sweep}", f"seed={seed}", "logger=none",
                    *settings,
                ],
                check=True,
            )  # fmt: skip
        rows.append(measure(sweep, {row["path"]: row["truth"] for row in read_table(table)}))
        print(
            f"seed {seed}: " + "  ".join(f"{name} {value:.4g}" for name, value in zip(COLUMNS, rows[-1], strict=True))
        )
    for name, values in zip(COLUMNS, zip(*rows, strict=True), strict=True):
        print(f"{name}: {statistics.mean(values):.4g} [{min(values):.4g}..{max(values):.4g}]")


if __name__ == "__main__":
    main()
