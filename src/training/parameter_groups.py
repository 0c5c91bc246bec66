"""Parameter groups: which parameters train at which share of the rate, and which are decayed."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer

from src.models.adapted import AdaptedNetwork

# Parameters of torchvision's transformers and ConvNeXts that are no weights of a layer, and have several dimensions.
UNDECAYED = ("class_token", "pos_embedding", "relative_position_bias_table", "layer_scale", "logit_scale")


@dataclass(frozen=True)
class ParameterGroups:
    """Which parameters train at which share of the rate, and which are not decayed.

    Args:
        layer_decay: factor on the rate from each block to the one before it, from the head (1) to the input (Clark et
            al. 2020, arXiv 2003.10555, section 3.1; Bao et al. 2022, arXiv 2106.08254). 1 = the same rate throughout.
        head_lr_factor: factor on the head's rate, where more than the head trains.
        decay_norms_and_biases: whether weight decay also pulls at norms, biases, embeddings of position and the like.
    """

    layer_decay: float = 1.0
    head_lr_factor: float = 1.0
    decay_norms_and_biases: bool = False

    def build(self, optimizer: Callable[..., Optimizer], model: AdaptedNetwork) -> Optimizer:
        """The optimizer of those parameters of the network that train, one group for each pair of rate and decay.

        The groups keep their proportions under any schedule that multiplies the rates it finds.
        """
        blocks = model.blocks
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        trained = [(name, p) for name, p in model.net.named_parameters() if p.requires_grad]
        head_alone = all(model.in_head(name) for name, _ in trained)
        for name, parameter in trained:
            if model.in_head(name):
                scale = 1.0 if head_alone else self.head_lr_factor
            else:
                # What belongs to no block, such as a class token, is added at the input.
                at = next((i for i, block in enumerate(blocks) if name.startswith(f"{block}.")), 0)
                scale = self.layer_decay ** (len(blocks) - at)
            decayed = self.decay_norms_and_biases or not (parameter.ndim <= 1 or name.rpartition(".")[2] in UNDECAYED)
            groups.setdefault((scale, decayed), []).append(parameter)
        built = optimizer([
            {"params": parameters, "lr_scale": scale, **({} if decayed else {"weight_decay": 0.0})}
            for (scale, decayed), parameters in groups.items()
        ])  # fmt: skip
        for group in built.param_groups:
            group["lr"] *= group["lr_scale"]
        return built
