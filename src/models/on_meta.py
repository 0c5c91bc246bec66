"""What a network would return for a square image: shapes alone, on torch's meta device, which computes nothing."""

from typing import Any

import torch
from torch import nn


def run_on_meta(net: nn.Module, side_px: int) -> Any:
    """Its answer to one image, as in evaluation; hooks of its modules see theirs. The network itself stays as it is."""
    values = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    on_meta = {name: value.detach().to("meta") for name, value in values.items()}
    training = net.training
    try:
        with torch.no_grad():
            images = torch.zeros(1, 3, side_px, side_px, device="meta")
            return torch.func.functional_call(net.eval(), on_meta, (images,))
    finally:
        net.train(training)
