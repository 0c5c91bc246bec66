"""A torchvision classifier with a new head. Shapes: B images, C channels, H x W pixels, maps of h x w, K classes."""

from collections.abc import Callable
from typing import cast

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from src.models.adapted import AdaptedNetwork
from src.models.catalogue import find_head
from src.models.heads import HeadFactory
from src.models.preprocessing import Preprocessing


class ImageClassifier(AdaptedNetwork):
    """A torchvision classifier, whose head is its last layer: one module, new once `reset_classifier` was called."""

    def __init__(self, net: nn.Module, preprocessing: Preprocessing, channels_last: bool) -> None:
        super().__init__(net, [find_head(net)], preprocessing, channels_last)

    @property
    def head(self) -> nn.Module:
        return self.net.get_submodule(self.head_names[0])

    def reset_classifier(self, num_classes: int, head_factory: HeadFactory) -> None:
        """Put a new head in the place of the old one.

        Other layers of a classifier stay, but for the ReLU behind SqueezeNet's head: logits then can be negative, and a
        head whose outputs all fall below zero does not stop learning for good, as happened with optimizer=sgd.
        """
        old = self.affine_layers[0]
        conv = isinstance(old, nn.Conv2d)
        in_features = old.in_channels if isinstance(old, nn.Conv2d) else old.in_features
        head = head_factory(in_features, num_classes, conv)
        self.net.set_submodule(self.head_names[0], head.to(self.device).to(memory_format=self.memory_format))
        for name, module in self._behind_head.items():
            if isinstance(module, nn.ReLU):
                self.net.set_submodule(name, nn.Identity())

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits [B, K] of RGB images uint8 [B, 3, H, W]."""
        return cast(Tensor, self.net(self.normalise(images_BCHW)))

    def forward_features(self, images_BCHW: Tensor) -> Tensor:
        """What the head gets of RGB images uint8 [B, 3, H, W]: vectors [B, C] or maps [B, C, h, w].

        Maps are averaged to [B, C, 1, 1] where the head is one affine layer and its outputs are averaged anyway.
        """
        features = self.until_head(self.normalise(images_BCHW))
        averaged = any(isinstance(module, nn.AdaptiveAvgPool2d) for module in self._behind_head.values())
        if averaged and isinstance(self.head, nn.Conv2d):
            return features.float().mean(dim=(2, 3), keepdim=True)
        return features

    def forward_head(self, features: Tensor) -> Tensor:
        """Logits [B, K] of what `forward_features` returned."""
        outputs = self.head(features)
        for module in self._behind_head.values():
            outputs = module(outputs)
        return cast(Tensor, outputs.flatten(1))

    def until_head(self, inputs_BCHW: Tensor) -> Tensor:
        """What the head gets of normalised images float [B, 3, H, W]; nothing from the head on is computed."""

        def stop(features: Tensor) -> None:
            raise _HeadReached(features)

        handle = self.watch_head(stop)
        try:
            self.net(inputs_BCHW)
        except _HeadReached as reached:
            return reached.features
        finally:
            handle.remove()
        raise AssertionError("the network does not use its head")

    def watch_head(self, see: Callable[[Tensor], None]) -> RemovableHandle:
        """Call `see` with what the head gets, in every forward pass, until the handle is removed."""
        return self.head.register_forward_pre_hook(lambda _, inputs: see(inputs[0]))

    @property
    def _behind_head(self) -> dict[str, nn.Module]:
        """What torchvision's networks do with the head's outputs, besides flattening them: pooling in SqueezeNet's."""
        parent_name, _, own_name = self.head_names[0].rpartition(".")
        siblings = dict(self.net.get_submodule(parent_name).named_children())
        later = list(siblings)[list(siblings).index(own_name) + 1 :]
        return {f"{parent_name}.{name}" if parent_name else name: siblings[name] for name in later}


class _HeadReached(Exception):
    """Ends a forward pass in front of the head."""

    def __init__(self, features: Tensor) -> None:
        self.features = features


def pooled(features: Tensor) -> Tensor:
    """[B, C] of what a head gets: vectors [B, C], or maps [B, C, h, w], which are averaged."""
    return features.flatten(2).mean(dim=2) if features.ndim == 4 else features
