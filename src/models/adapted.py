"""A pretrained network and its new parts, in timm's words. Shapes: B images, C channels, H and W pixels."""

from typing import Any

import torch
from torch import Tensor, nn

from src.models.preprocessing import Preprocessing


class AdaptedNetwork(nn.Module):
    """What every adapted network is. It normalises its uint8 input itself.

    Freeze plans, rates by layer, sharding and feature caches ask it what is new (`head_names`) and where it can be cut
    (`blocks`). Names of modules and parameters are those inside `net`, which are torchvision's.

    `head_names` are the dotted names of the modules that are new, from input to output. They train in every phase that
    trains the head; a detector has several. `channels_last` is the memory layout to compute in.
    """

    scale_1C11: Tensor
    shift_1C11: Tensor

    def __init__(
        self, net: nn.Module, head_names: list[str], preprocessing: Preprocessing, channels_last: bool
    ) -> None:
        super().__init__()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.net = net.to(memory_format=self.memory_format)
        self.head_names = head_names
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.register_buffer("scale_1C11", (1 / (255 * std)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift_1C11", (-mean / std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, images_BCHW: Tensor) -> Tensor:
        """The network's input, float [B, 3, H, W] in its memory layout, of RGB images 0..255 [B, 3, H, W]."""
        images_BCHW = images_BCHW.to(self.scale_1C11.dtype).contiguous(memory_format=self.memory_format)
        return images_BCHW * self.scale_1C11 + self.shift_1C11

    def of_normalised(self, images_BCHW: Tensor) -> Tensor:
        """The outputs that `forward` gives, of what `normalise` gives; a network that answers otherwise says how."""
        outputs: Tensor = self.net(images_BCHW)
        return outputs

    @property
    def device(self) -> torch.device:
        return self.scale_1C11.device

    @property
    def affine_layers(self) -> list[nn.Linear | nn.Conv2d]:
        """Of the head; the last one makes the outputs."""
        layers = (layer for name in self.head_names for layer in self.net.get_submodule(name).modules())
        return [layer for layer in layers if isinstance(layer, nn.Linear | nn.Conv2d)]

    def in_head(self, name: str) -> bool:
        """Whether this module, parameter or buffer belongs to the head."""
        return any(f"{name}.".startswith(f"{head}.") for head in self.head_names)

    def body_state_dict(self) -> dict[str, Any]:
        """The entries of the state dict that do not belong to the head: what cached features depend on."""
        return {name: value for name, value in self.state_dict().items() if not self.in_head(name.removeprefix("net."))}

    @property
    def stages(self) -> list[list[str]]:
        """The blocks, from the input on; those that stand together thaw together and have one rate."""
        return [[block] for block in self.blocks]

    @property
    def blocks(self) -> list[str]:
        """Dotted names of the blocks in front of the head, from the input on: where a person would cut the network.

        A container of more than a quarter of the layers with parameters, or of a part of the head, counts by its parts.
        """
        blocks: list[str] = []
        large = 0.25 * _count_layers(self.net)

        def visit(name: str, module: nn.Module) -> None:
            children = list(module.named_children())
            if self.in_head(name) or not _count_layers(module):
                return
            above_head = any(head.startswith(f"{name}.") for head in self.head_names)
            if children and (_count_layers(module) > large or above_head):
                for child_name, child in children:
                    visit(f"{name}.{child_name}" if name else child_name, child)
            else:
                blocks.append(name)

        visit("", self.net)
        return blocks


def _count_layers(module: nn.Module) -> int:
    """How many modules inside own parameters themselves."""
    return sum(any(True for _ in part.parameters(recurse=False)) for part in module.modules())
