"""Convert the UCI handwritten digits, as shipped inside scikit-learn, to src/assets/digits.npz.

uv run --with scikit-learn python scripts/convert_digits.py
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

OUTPUT = Path(__file__).parents[1] / "src" / "assets" / "digits.npz"


def main() -> None:
    digits = load_digits()
    images = digits.images.astype(np.uint8)  # 0..16, exact
    assert np.array_equal(images, digits.images)
    np.savez_compressed(OUTPUT, images=images, labels=digits.target.astype(np.uint8))
    print(f"{OUTPUT}: {images.shape}, {OUTPUT.stat().st_size / 1e3:.0f} KB")


if __name__ == "__main__":
    main()
