"""New last layers, for the place of the pretrained network's last nn.Linear or of its last 1x1 convolution."""

from collections.abc import Callable

from torch import nn

# (in_features, num_classes, conv) -> head. conv: the head gets feature maps [B, C, H, W] instead of vectors [B, C].
HeadFactory = Callable[[int, int, bool], nn.Module]


def linear_head(in_features: int, num_classes: int, conv: bool, dropout: float = 0.0) -> nn.Module:
    """One affine layer. With no dropout the state dict keeps torchvision's own key names."""
    layer = _last_layer(in_features, num_classes, conv)
    return nn.Sequential(nn.Dropout(dropout), layer) if dropout > 0 else layer


def mlp_head(
    in_features: int, num_classes: int, conv: bool, hidden_features: int = 512, dropout: float = 0.2
) -> nn.Module:
    """Two affine layers with a ReLU and dropout between them."""
    last = _last_layer(hidden_features, num_classes, conv)
    return nn.Sequential(_affine(in_features, hidden_features, conv), nn.ReLU(), nn.Dropout(dropout), last)


def _affine(in_features: int, out_features: int, conv: bool) -> nn.Linear | nn.Conv2d:
    return nn.Conv2d(in_features, out_features, kernel_size=1) if conv else nn.Linear(in_features, out_features)


def _last_layer(in_features: int, num_classes: int, conv: bool) -> nn.Module:
    """It begins near equal probabilities, so that the first gradients into pretrained layers are small."""
    layer = _affine(in_features, num_classes, conv)
    nn.init.normal_(layer.weight, std=0.01)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
