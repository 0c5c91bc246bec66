"""Pooling that rounds sizes up, in words of one that rounds them down: the former has a rule that depends on the size,
so torch.export finds no graph of it for a size that is computed in the graph.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


class PaddedMaxPool(nn.Module):
    """`MaxPool2d(kernel, stride, ceil_mode=True)`, for kernels that are no smaller than their stride: with so much
    behind the last pixel that rounding down gives as many windows as rounding up.
    """

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        more = self.stride - 1
        padded_BCHW = F.pad(maps_BCHW, (0, more, 0, more), value=float("-inf"))
        return F.max_pool2d(padded_BCHW, self.kernel, self.stride)


def without_ceil_pooling(net: nn.Module) -> None:
    """Replace each of them inside `net` that can be."""
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.MaxPool2d) and module.ceil_mode and name:
            kernel: Any = module.kernel_size
            stride: Any = module.stride
            if isinstance(kernel, int) and isinstance(stride, int) and kernel >= stride and not module.padding:
                net.set_submodule(name, PaddedMaxPool(kernel, stride))
