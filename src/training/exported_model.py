"""What an exported file computes: from decoded images of any size to the answers, in plain tensor operations.

Shapes: B images, C channels, H and W pixels, S pixels of the network's square input, K outputs of the network.
"""

import copy
from typing import ClassVar

import torch
from torch import Tensor, nn

from src.models.adapted import AdaptedNetwork
from src.models.pillow_resize import PillowResize
from src.models.preprocessing import Preprocessing
from src.training.output_layer import OutputLayer


class ExportedModel(nn.Module):
    """Everything that src.predict does to decoded images, on the CPU, of a network in eval mode: a copy of it.

    Takes RGB images uint8 [B, 3, H, W] of any size, all of one size, and returns what the output layer gives, in the
    order of `output_names`. `half` computes the network in float16, and what is before and after it in float32.
    """

    takes_one: ClassVar[bool] = False  # image per call, [1, 3, H, W]
    advice: ClassVar[str] = ""  # for networks of which no graph can be had

    def __init__(
        self,
        network: AdaptedNetwork,
        outputs: OutputLayer,
        preprocessing: Preprocessing,
        output_names: list[str],
        half: bool = False,
    ) -> None:
        super().__init__()
        self.resize = self.make_resize(preprocessing)
        self.network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
        self.network.memory_format = torch.contiguous_format
        self.dtype = torch.float16 if half else torch.float32
        self.network.net.to(self.dtype)
        self.outputs, self.output_names = copy.deepcopy(outputs), output_names

    def make_resize(self, preprocessing: Preprocessing) -> nn.Module:
        return PillowResize(preprocessing)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        pixels_BCSS = self.resize(images)
        pixels_BCSS = self.network.normalise(pixels_BCSS).to(self.dtype)
        outputs = self.outputs(self.network.of_normalised(pixels_BCSS).float())
        return tuple(outputs[name] for name in self.output_names)
