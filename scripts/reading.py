"""How faithful and how fast it is to decode JPEGs at reduced scale (src/data/decode.py), by margin and image size.

uv run python -m scripts.reading FOLDER
"""

import statistics
import sys
import time
from pathlib import Path

from src.data import decode
from src.data.transforms import evaluation_transform
from src.models.preprocessing import Preprocessing

SIZES_PX, MARGINS = (64, 112, 128), (1.0, 2.0, 3.0)


def main() -> None:
    files = sorted(Path(sys.argv[1]).rglob("*.jpg"))
    for size_px in SIZES_PX:
        preprocessing = Preprocessing(round(size_px * 256 / 224), size_px, "bilinear", (0.5,) * 3, (0.5,) * 3)
        transform = evaluation_transform(preprocessing)
        for decode.DRAFT_MARGIN in MARGINS:
            differences, whole_seconds, reduced_seconds = [], 0.0, 0.0
            for file in files:
                start = time.perf_counter()
                whole = decode.read_rgb(file)
                whole_CHW = transform(whole)
                middle = time.perf_counter()
                reduced = decode.read_rgb(file, transform.needed_px)
                reduced_CHW = transform(reduced)
                whole_seconds += middle - start
                reduced_seconds += time.perf_counter() - middle
                if reduced.size != whole.size:
                    differences.append(float((whole_CHW.float() - reduced_CHW.float()).abs().mean()))
            mean, worst = (statistics.mean(differences), max(differences)) if differences else (0.0, 0.0)
            print(
                f"{size_px} px, margin {decode.DRAFT_MARGIN:g}: {len(differences)} of {len(files)} reduced, "
                f"mean difference {mean:.2f} of 255, worst {worst:.2f}; "
                f"{whole_seconds / reduced_seconds:.2f} times as fast"
            )


if __name__ == "__main__":
    main() if len(sys.argv) == 2 and "--help" not in sys.argv else print(__doc__)
