import copy

import pytest
import torch
from support.slow import mostly_slow, slow
from torch import nn
from torchvision import models

from src.models.catalogue import new_network
from src.models.detection_heads import fcos
from src.models.norms import freeze_norms
from src.models.pyramid import FeaturePyramid, chosen_levels, find_levels
from src.settings.backbones import BACKBONES
from src.settings.errors import ConfigError

WITH_LEVELS = [name for name in BACKBONES if not name.startswith("vit_")]


def network(name: str, size_px: int) -> nn.Module:
    """On the meta device where it can be built there; RegNets compute their widths on the CPU."""
    if name.startswith("regnet"):
        return new_network(name, size_px).to("meta")
    with torch.device("meta"):
        return new_network(name, size_px)


@pytest.mark.parametrize(
    "name", mostly_slow(WITH_LEVELS, "googlenet", "mobilenet_v3_small", "regnet_y_400mf", "squeezenet1_1", "swin_t")
)
def test_every_classifier_but_vits_has_a_pyramid(name: str) -> None:
    size_px = 224 if name == "maxvit_t" else 256
    net = network(name, size_px)
    names = set(net.state_dict())
    levels = find_levels(net, name, size_px)
    strides = [level.stride for level in levels]
    assert len(levels) >= 3 and strides == sorted(strides) and set(strides) <= {4, 8, 16, 32}
    with torch.device("meta"):
        pyramid = FeaturePyramid(net, levels, 32).eval()
        maps = pyramid(torch.zeros(2, 3, size_px, size_px))
    assert list(maps) == [*map(str, range(len(levels))), "pool"]
    for stride, one in zip(pyramid.strides, maps.values(), strict=True):
        assert one.shape[:2] == (2, 32) and 0.7 < one.shape[2] * stride / size_px < 1.3
    own = {key.removeprefix("body.") for key in pyramid.state_dict() if key.startswith("body.")}
    assert own <= names or name == "maxvit_t", "ImageNet's weights would not fit"


@pytest.mark.parametrize("name", ["vit_b_32", slow("vit_b_16"), slow("vit_l_16"), slow("vit_l_32"), slow("vit_h_14")])
def test_vits_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"backbone.name='{name}' has no feature maps at several scales.*resnet50"):
        find_levels(network(name, 224), name, 224)


def test_levels_are_those_that_one_would_write_by_hand() -> None:
    assert [level.name for level in find_levels(network("resnet18", 64), "resnet18", 64)] == [
        "layer1", "layer2", "layer3", "layer4",
    ]  # fmt: skip
    net = network("squeezenet1_1", 128)
    levels = find_levels(net, "squeezenet1_1", 128)
    assert [(level.stride, level.channels) for level in levels] == [(4, 128), (8, 256), (16, 512)]
    assert [level.stride for level in chosen_levels(levels, [16, 8])] == [8, 16]
    with pytest.raises(ConfigError, match=r"head.strides=\[8, 32\]: this network has \[4, 8, 16\]"):
        chosen_levels(levels, [8, 32])


def test_maps_of_squeezenet_are_the_image_over_the_stride() -> None:
    net = network("squeezenet1_1", 128)
    with torch.device("meta"):
        maps = FeaturePyramid(net, find_levels(net, "squeezenet1_1", 128), 32)(torch.zeros(1, 3, 96, 128))
    assert [tuple(one.shape[2:]) for one in maps.values()] == [(24, 32), (12, 16), (6, 8), (3, 4)]


def test_finding_levels_leaves_the_network_alone() -> None:
    net = models.resnet18().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    find_levels(net, "resnet18", 64)
    assert net.training and not any(module._forward_hooks for module in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_frozen_norms_compute_as_in_inference() -> None:
    torch.manual_seed(0)
    net = models.resnet18(norm_layer=lambda channels: nn.BatchNorm2d(channels, eps=0.01))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.001, 0.1)  # small, so that eps is felt
            module.weight.data.uniform_(0.1, 0.4)
    images = torch.rand(2, 3, 64, 64)
    expected = net.eval()(images)
    freeze_norms(net)
    torch.testing.assert_close(net.train()(images), expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def test_a_copy_keeps_the_mode_of_each_layer() -> None:
    """torchvision's pair of graphs would be in training mode once copied."""
    pyramid = FeaturePyramid(net := models.mobilenet_v3_small(), find_levels(net, "mobilenet_v3_small", 64), 32).eval()
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(copy.deepcopy(pyramid)(images)["0"], pyramid(images)["0"], rtol=0, atol=0)


def test_channels_and_networks_that_do_not_fit_are_told() -> None:
    with pytest.raises(ConfigError, match=r"head.channels=48 must be a multiple of 32"):
        fcos(network("squeezenet1_1", 64), "squeezenet1_1", 64, 2, channels=48)
    with pytest.raises(ConfigError, match="whole detector with a head of its own: add head=torchvision"):
        fcos(nn.Identity(), "fcos_resnet50_fpn", 64, 2)
