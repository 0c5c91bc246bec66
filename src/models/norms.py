"""BatchNorm as constants: a detector sees few images at once, too few to estimate statistics from."""

from torch import nn
from torchvision.ops import FrozenBatchNorm2d


def freeze_norms(net: nn.Module) -> None:
    """Put FrozenBatchNorm2d with the same values and eps in the place of every BatchNorm2d.

    Names in the state dict stay; the counters of batches, which nobody reads, go.
    """
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(module.num_features, eps=module.eps)
            if module.running_mean is not None:
                frozen.to(module.running_mean.device)
            frozen.load_state_dict(module.state_dict())
            net.set_submodule(name, frozen)
