from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support.families import FAMILIES, classifier
from support.slow import mostly_slow
from torch import nn
from torchvision import models
from torchvision.models.regnet import BlockParams

from src.models.catalogue import classifier_names
from src.models.classifier import ImageClassifier
from src.models.heads import linear_head, mlp_head
from src.models.loading import load_pretrained
from src.models.preprocessing import Preprocessing
from src.models.weights import build_backbone, find_weights, preprocessing_of
from src.models.weights_file import read_state_dict
from src.settings.backbones import BACKBONES
from src.settings.errors import ConfigError


def test_list_of_backbones_is_torchvisions() -> None:
    assert sorted(BACKBONES) == sorted(classifier_names()) and len(BACKBONES) == 80


@pytest.mark.parametrize(
    "name", mostly_slow(BACKBONES, "googlenet", "maxvit_t", "regnet_y_400mf", "squeezenet1_0", "vit_b_16")
)
def test_every_backbone_gets_a_new_head(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All 80 on the meta device, which computes shapes and nothing else. RegNets compute their widths on the CPU."""
    widths = BlockParams.from_init_params.__func__

    def on_cpu(cls: type, *arguments: object, **named: object) -> object:
        with torch.device("cpu"):
            return widths(cls, *arguments, **named)

    monkeypatch.setattr(BlockParams, "from_init_params", classmethod(on_cpu))
    with torch.device("meta"):
        model = classifier(name).eval()
        crop = preprocessing_of(name, None).crop_px
        logits = model(torch.zeros(2, 3, crop, crop, dtype=torch.uint8))
        from_features = model.forward_head(model.forward_features(torch.zeros(2, 3, crop, crop, dtype=torch.uint8)))
    assert logits.shape == from_features.shape == (2, 7)
    assert model.in_head(list(model.net.named_parameters())[-1][0]), "the head is not last"
    assert len(model.blocks) >= 5


@pytest.mark.parametrize("name", mostly_slow(FAMILIES, "densenet121", "resnet18", "squeezenet1_1"))
def test_every_family_trains_a_step(name: str) -> None:
    torch.manual_seed(0)
    size = FAMILIES[name]
    images = torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8)
    model = classifier(name, size).eval()
    with torch.inference_mode():  # in two halves, as from kept features
        torch.testing.assert_close(
            model.forward_head(model.forward_features(images)), model(images), rtol=1e-4, atol=1e-5
        )
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.head.weight.detach().clone()
    nn.functional.cross_entropy(model(images), torch.tensor([0, 1, 2, 3])).backward()
    without = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    assert not without
    optimizer.step()
    assert not torch.equal(before, model.head.weight)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_old_classifier_layers_stay() -> None:
    with torch.device("meta"):
        for name in ("vgg16", "alexnet"):
            model = classifier(name)
            assert model.head_names == ["classifier.6"]
            assert [m.out_features for m in model.net.classifier if isinstance(m, nn.Linear)] == [4096, 4096, 7]


def test_no_relu_behind_a_new_head() -> None:
    """torchvision's SqueezeNet cannot give negative logits, and a head that falls below zero everywhere is dead."""
    model = classifier("squeezenet1_1", 32).eval()
    nn.init.constant_(model.head.bias, -1.0)
    assert (model(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)) < 0).any()


def test_heads() -> None:
    conv, flat = torch.zeros(2, 8, 5, 5), torch.zeros(2, 8)
    assert linear_head(8, 3, True)(conv).shape == (2, 3, 5, 5)
    assert isinstance(linear_head(8, 3, False), nn.Linear)
    assert mlp_head(8, 3, True, hidden_features=4)(conv).shape == (2, 3, 5, 5)
    mlp = mlp_head(8, 3, False, hidden_features=4, dropout=0.5)
    assert mlp(flat).shape == (2, 3) and mlp[0].out_features == 4 and mlp[2].p == 0.5
    dropping = linear_head(8, 3, False, dropout=0.3)
    assert dropping[0].p == 0.3


def test_a_head_is_replaced_again() -> None:
    model = classifier("squeezenet1_1", 32, head=mlp_head)
    model.reset_classifier(3, linear_head)
    assert model.head.weight.shape == (3, 512, 1, 1) and model.head_names == ["classifier.1"]


def test_normalisation_is_torchvisions() -> None:
    """uint8 through the model equals torchvision's preset through the bare network."""
    model = classifier("squeezenet1_1", 64).eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (images / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(model(images), model.net(normalised), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", mostly_slow(["googlenet", "inception_v3"], "googlenet"))
def test_mean_of_half_replaces_transform_input(name: str) -> None:
    """torchvision's pretrained GoogLeNet and Inception convert ImageNet's normalisation to 0.5 inside the network."""
    theirs = (
        models.get_model(name, weights=None, aux_logits=False, init_weights=True, transform_input=True).double().eval()
    )
    ours = build_backbone(name, None, 96).double().eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = theirs((images.double() / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    actual = ImageClassifier(ours, preprocessing_of(name, None), channels_last=False).double()(images)
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


def test_preprocessing_comes_with_the_weights() -> None:
    def of(name: str, weights: str) -> Preprocessing:
        return preprocessing_of(name, find_weights(name, weights))

    assert of("resnet50", "IMAGENET1K_V1").resize_px == 256
    assert of("resnet50", "DEFAULT").resize_px == 232
    assert of("vit_b_16", "IMAGENET1K_SWAG_E2E_V1").crop_px == 384
    assert of("efficientnet_v2_l", "DEFAULT").mean == (0.5, 0.5, 0.5)
    assert of("efficientnet_b0", "DEFAULT").interpolation == "bicubic"
    sized = of("resnet50", "DEFAULT").with_size(112, None)
    assert (sized.crop_px, sized.resize_px) == (112, 116)
    assert Preprocessing.from_dict(sized.as_dict()) == sized


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_weights_from_a_file(tmp_path: Path, suffix: str) -> None:
    source = models.resnet18()
    file = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save({"state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}}, file)
    else:
        save_file(source.state_dict(), file)
    net = build_backbone("resnet18", find_weights("resnet18", str(file)), 224)
    assert torch.equal(net.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
    assert torch.equal(net.bn1.running_mean, source.bn1.running_mean)


def test_weights_that_do_not_fit_are_reported(tmp_path: Path) -> None:
    state = models.resnet18().state_dict()
    del state["layer1.0.conv1.weight"]
    state["surprise"] = torch.zeros(1)
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="does not fit") as error:
        build_backbone("resnet18", tmp_path / "w.pth", 224)
    for part in ("1 missing: layer1.0.conv1.weight", "1 superfluous: surprise", "1 of another shape: conv1.weight"):
        assert part in str(error.value)
    assert "backbone=" not in str(error.value)  # it is this network's file


def test_weights_that_are_not_finite_are_refused() -> None:
    """torchvision's vgg16 IMAGENET1K_FEATURES comes with hidden classifier layers that are not numbers."""
    net = models.resnet18()
    state = {**net.state_dict(), "layer1.0.bn1.bias": torch.full((64,), float("nan"))}
    with pytest.raises(ConfigError, match=r"1 not finite: layer1.0.bn1.bias"):
        load_pretrained(net, state, "file", ("fc.",))


def test_mnasnet_from_a_file_keeps_its_first_layers(tmp_path: Path) -> None:
    """A state dict without version numbers makes torchvision's MNASNet rebuild its stem for weights of 2019."""
    source = models.mnasnet0_5()
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    net = build_backbone("mnasnet0_5", tmp_path / "w.safetensors", 224)
    assert net.layers[0].weight.shape == source.layers[0].weight.shape == (16, 3, 3, 3)


def test_old_densenet_names(tmp_path: Path) -> None:
    source = models.densenet121()
    old = {k.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): v for k, v in source.state_dict().items()}
    torch.save(old, tmp_path / "w.pth")
    net = build_backbone("densenet121", tmp_path / "w.pth", 224)
    name = "features.denseblock1.denselayer1.norm1.weight"
    assert torch.equal(net.state_dict()[name], source.state_dict()[name])


@pytest.mark.slow  # hundreds of megabytes of weights
def test_vision_transformer_takes_another_size(tmp_path: Path) -> None:
    torch.save(models.vit_b_32(image_size=224).state_dict(), tmp_path / "w.pth")
    net = build_backbone("vit_b_32", tmp_path / "w.pth", 96)
    assert net.encoder.pos_embedding.shape == (1, 1 + 3 * 3, 768)
    assert net.eval()(torch.zeros(1, 3, 96, 96)).shape == (1, 1000)


@pytest.mark.parametrize(
    ("name", "size", "rule"),
    [
        ("vit_b_16", 100, "a multiple of 16"),
        ("maxvit_t", 256, "a multiple of 224"),
        ("alexnet", 32, "at least 63"),
        ("swin_t", 16, "at least 32"),
    ],
)
def test_sizes_that_do_not_fit(name: str, size: int, rule: str) -> None:
    with pytest.raises(ConfigError, match=f"data.image_size_px={size} does not fit {name}: it must be {rule}"):
        build_backbone(name, None, size)


def test_weights_by_name_and_their_mistakes(tmp_path: Path) -> None:
    assert find_weights("resnet50", "DEFAULT") is models.ResNet50_Weights.IMAGENET1K_V2
    assert find_weights("resnet50", None) is None
    with pytest.raises(ConfigError, match="Allowed: IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT, null"):
        find_weights("resnet50", "IMAGENET")
    with pytest.raises(ConfigError, match="does not exist"):
        find_weights("resnet50", "nowhere.pth")
    with pytest.raises(ConfigError, match="is no classifier, detector or segmenter of torchvision"):
        find_weights("resnet5", None)
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_state_dict(tmp_path / "text.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ConfigError, match="holds no state dict"):
        read_state_dict(tmp_path / "list.pth")


def test_no_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    import urllib.request

    def refuse(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    with pytest.raises(ConfigError, match="could not be downloaded") as error:
        build_backbone("resnet18", models.ResNet18_Weights.DEFAULT, 224)
    for way_out in ("Network is unreachable", "backbone.weights=null", "put it at", "backbone=squeezenet1_1"):
        assert way_out in str(error.value)
