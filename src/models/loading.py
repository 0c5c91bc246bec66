"""A state dict into a network: what does not fit is said, and nothing is left random unnoticed."""

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from src.models.weight_names import fitting_network
from src.settings.errors import ConfigError


def load_pretrained(net: nn.Module, state_dict: dict[str, Tensor], source: str, left_out: tuple[str, ...]) -> None:
    """Load everything but what is replaced afterwards: the entries whose names begin as `left_out` says.

    Position embeddings of vision transformers are interpolated to the network's image size.
    Raises ConfigError if any other key is missing, superfluous or of another shape, or if a loaded value is not finite.
    """
    if isinstance(net, VisionTransformer) and "encoder.pos_embedding" in state_dict:
        state_dict = dict(interpolate_embeddings(net.image_size, net.patch_size, OrderedDict(state_dict)))
    given = {key: value for key, value in state_dict.items() if not key.startswith(left_out)}
    if misfits := _misfits(net, given, left_out):
        near = fitting_network(state_dict, net.state_dict())
        advice = f"\nThese are weights of {near}: backbone={near}, or weights of this network." if near else ""
        raise ConfigError(f"backbone.weights='{source}' does not fit the network {misfits}{advice}")
    net.load_state_dict(with_versions(given, net), strict=False)


def _misfits(net: nn.Module, given: Mapping[str, Tensor], left_out: tuple[str, ...]) -> str:
    """What is wrong with these weights, one line for each kind of mistake; empty if nothing is."""
    own = {key: value for key, value in net.state_dict().items() if not key.startswith(left_out)}
    problems = {
        "missing": [key for key in needed_names(net, left_out) if key not in given],
        "superfluous": [key for key in given if key not in own],
        "of another shape": [key for key in own if key in given and own[key].shape != given[key].shape],
        "not finite": [
            key for key, value in given.items() if value.is_floating_point() and not value.float().isfinite().all()
        ],
    }
    lines = [
        f"  {len(keys)} {kind}: {', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''}"
        for kind, keys in problems.items()
        if keys
    ]
    return "\n".join([f"({len(own)} entries besides the head):", *lines]) if lines else ""


def with_versions(state_dict: Mapping[str, Tensor], module: nn.Module) -> "OrderedDict[str, Tensor]":
    """The state dict as the module itself would write it, for `load_state_dict`.

    Without the version numbers in `_metadata`, a private attribute of torch's state dicts, MNASNet takes weights for
    those of 2019 and rebuilds its first layers.
    """
    versioned = OrderedDict(state_dict)
    versioned._metadata = module.state_dict()._metadata  # type: ignore[attr-defined]
    return versioned


def needed_names(net: nn.Module, left_out: tuple[str, ...]) -> list[str]:
    """Names of the weights that a file must have.

    Old files and those of FrozenBatchNorm lack BatchNorm's batch counter, which only averaging without momentum reads.
    """
    return [key for key in net.state_dict() if not key.startswith(left_out) and not key.endswith("num_batches_tracked")]
