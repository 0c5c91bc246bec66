"""How long a table of a million rows takes to index, and how much memory the run and its workers need.

uv run python -m scripts.scale [rows]

The rows name 1,000 small images again and again, by way of links to their folder. Prints seconds of indexing, memory
of the process before and after (resident), private memory of each worker process, and the memory at the end of several
passes over 20,000 images. Linux only: it reads /proc.
"""

import csv
import multiprocessing
import os
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from src.data.formats.csv_table import CsvDataModule
from src.models.preprocessing import Preprocessing
from src.settings.nodes import Augmentation

IMAGES, PASSES, BATCHES, BATCH_SIZE = 1000, 6, 200, 100


def megabytes(pid: int, key: str) -> float:
    """A value of /proc/<pid>/smaps_rollup, such as Rss or Private_Dirty."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    raise KeyError(key)


def make_table(folder: Path, rows: int) -> Path:
    generator = np.random.default_rng(0)
    for i in range(IMAGES):
        Image.fromarray(generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / f"image_{i:07d}.png")
    for i in range(0, rows, IMAGES):  # a table with the same path twice would be merged
        (folder / f"{i // IMAGES:04d}").symlink_to(folder)
    file = folder / "table.csv"
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["path", "label"])
        writer.writerows((f"{i // IMAGES:04d}/image_{i % IMAGES:07d}.png", f"class_{i % 100:03d}") for i in range(rows))
    return file


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        file = make_table(Path(folder), rows)
        data = CsvDataModule(
            file=str(file), preprocessing=Preprocessing(32, 32, "bilinear", (0.5,) * 3, (0.5,) * 3),
            augmentation=Augmentation(), seed=0, batch_size=BATCH_SIZE, num_workers=2,
        )  # fmt: skip
        before, start = megabytes(os.getpid(), "Rss"), time.perf_counter()
        table = data.table
        seconds, after = time.perf_counter() - start, megabytes(os.getpid(), "Rss")
        print(f"{rows:,} rows, {file.stat().st_size / 1e6:.0f} MB of csv: indexed and split in {seconds:.1f} s")
        print(f"memory {before:.0f} MB before, {after:.0f} MB after: {after - before:.0f} MB more")
        start = time.perf_counter()
        print(f"fingerprint {table.fingerprint()} in {time.perf_counter() - start:.1f} s")
        loader = data.train_dataloader()
        for epoch in range(PASSES):
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
            for _ in islice(loader, BATCHES):
                pass
            workers = [
                megabytes(p.pid, "Private_Dirty") for p in multiprocessing.active_children() if p.pid is not None
            ]
            own = ", ".join(f"{size:.0f}" for size in workers)
            print(f"pass {epoch + 1}: process {megabytes(os.getpid(), 'Rss'):.0f} MB, workers' own {own} MB")


if __name__ == "__main__":
    print(__doc__) if "--help" in sys.argv else main()
