from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

from src.data.formats.digit_images import DIGITS_FILE
from src.settings.project import PROJECT_ROOT

WEIGHTS = PROJECT_ROOT / "src" / "assets" / "squeezenet1_1_imagenet.safetensors"


@pytest.mark.slow
def test_embedded_weights_recognise_a_photograph() -> None:
    """Matplotlib ships a portrait of Grace Hopper in uniform, with a tie: uv run --with matplotlib pytest -m slow."""
    matplotlib = pytest.importorskip("matplotlib")
    network = squeezenet1_1().eval()
    network.load_state_dict(load_file(WEIGHTS))
    weights = SqueezeNet1_1_Weights.IMAGENET1K_V1
    photograph = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    with torch.inference_mode():
        probabilities = network(weights.transforms()(photograph)[None]).softmax(dim=1)[0]
    best = probabilities.topk(3)
    named = {weights.meta["categories"][i]: p.item() for p, i in zip(*best, strict=True)}
    assert set(named) == {"bow tie", "suit", "Windsor tie"}
    assert abs(named["bow tie"] - 0.525) < 0.01


def test_digits_are_the_uci_digits() -> None:
    with np.load(DIGITS_FILE) as file:
        images, labels = file["images"], file["labels"]
    assert images.shape == (1797, 8, 8)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert images[0].tolist()[0] == [0, 0, 5, 13, 9, 1, 0, 0] and images.max() == 16
