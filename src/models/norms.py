"""BatchNorm where few images are seen at once, too few to estimate statistics from."""

from importlib import import_module
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation.deeplabv3 import ASPPPooling
from torchvision.ops import FrozenBatchNorm2d


def freeze_norms(net: nn.Module) -> None:
    """Put FrozenBatchNorm2d with the same values and eps in the place of every BatchNorm2d.

    Names in the state dict stay; the counters of batches, which nobody reads, go.
    """
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            net.set_submodule(name, _frozen(module))


def _frozen(norm: nn.BatchNorm2d) -> nn.Module:
    if hasattr(norm, "act"):  # timm's own kind, which has the activation in it
        return cast(nn.Module, import_module("timm.layers").freeze_batch_norm_2d(norm))
    frozen: nn.Module = FrozenBatchNorm2d(norm.num_features, eps=norm.eps)
    if norm.running_mean is not None:
        frozen.to(norm.running_mean.device)
    frozen.load_state_dict(norm.state_dict())
    return frozen


class BatchNormOfOne(nn.BatchNorm2d):
    """With its running statistics where a batch has one value per channel, which has no deviation."""

    @classmethod
    def like(cls, norm: nn.BatchNorm2d) -> "BatchNormOfOne":
        new = cls(norm.num_features, norm.eps, norm.momentum)
        new.load_state_dict(norm.state_dict())
        return new

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(input)


def bear_batches_of_one(net: nn.Module) -> None:
    """DeepLab normalises the mean of each image over the batch, which one image alone does not have."""
    for pooling in [module for module in net.modules() if isinstance(module, ASPPPooling)]:
        for place, module in enumerate(pooling):
            if isinstance(module, nn.BatchNorm2d):
                pooling[place] = BatchNormOfOne.like(module)
