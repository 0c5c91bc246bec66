"""timm's networks as backbones: names, weights, heads, groups of layers, and a run from training to prediction."""

import socket
import sys
from pathlib import Path

import pytest
import timm
import torch
from conftest import Answer, Run, compose, run_train
from safetensors.torch import load_file, save_file
from support.slow import mostly_slow
from torch import nn

from src.build.trained_model import TrainedModel
from src.models.classifier import ImageClassifier
from src.models.freeze import set_trainable, trained_modules
from src.models.heads import linear_head, mlp_head
from src.models.norms import freeze_norms
from src.models.timm_classifier import image_classifier
from src.models.timm_networks import new_timm_network, timm_preprocessing
from src.models.weights import build_backbone, find_weights, preprocessing_of
from src.settings.errors import ConfigError
from src.settings.project import PROJECT_ROOT
from src.settings.timm_names import installed_architectures, name_problems

TINY = "timm/lcnet_035"
# A member of each family of timm's modules that has one head.
FAMILIES = """
aimv2_1b_patch14_224 gernet_s beit_base_patch16_224 halonet26t caformer_s18 cait_xxs24_224 coat_mini coatnet_0_224
convit_tiny convmixer_1536_20 convnext_atto cpubone_s0 cs3darknet_s csatv2 cspnext_s davit_tiny deepseek_vit_412m
deit_tiny_patch16_224 densenet264d dla34 nf_regnet_b0 dpn68 vovnet39a resnet18 edgenext_small tinynet_e efficientvit_b0
efficientvit_m0 eva02_tiny_patch14_224 fasternet_s fastvit_t8 focalnet_tiny_lrf gcvit_tiny gemma4_vit_167m ghostnet_050
gmixer_12_224 hardcorenas_a hgnet_tiny hiera_tiny_224 hieradet_small hrnet_w18 iformer_s inception_next_atto
inception_resnet_v2 inception_v3 inception_v4 lcnetv2_small legacy_seresnet18 legacy_xception levit_512 lowformer_b0
mambaout_tiny mobilenetv5_300m mobilevit_s mvitv2_tiny nasnetalarge nest_tiny nextvit_small pit_s_224 pnasnet5large
poolformer_m36 pvt_v2_b0 qwen3_vit_88m rdnet_tiny regnetx_120 repghostnet_050 res2net50_14w_8s resnest26d
resnetv2_18 rexnet_100 samvit_base_patch16_224 selecsls42 sequencer2d_s shvit_s1 skresnet18 starnet_s050
swin_s3_tiny_224 swinv2_tiny_window8_256 swinv2_cr_tiny_224 vit_relpos_small_patch16_224 tf_efficientnet_lite0
tiny_vit_5m_224 tnt_s_patch16_224 tresnet_l twins_svt_small vgg11 visformer_tiny vit_small_r26_s32_224
vitamin_small_224 xception41 xcit_nano_12_p8_224
""".split()  # noqa: SIM905
DEFAULT = ("tf_efficientnet_lite0", "convnext_atto", "deit_tiny_patch16_224", "swin_s3_tiny_224")
SOME = [*DEFAULT, *(name for name in FAMILIES[::3] if name not in DEFAULT)]  # all of them take a minute; each passed


def classifier(name: str, size: int | None = None) -> ImageClassifier:
    preprocessing = timm_preprocessing(name).with_size(size, None)
    model = image_classifier(new_timm_network(name, preprocessing.crop_px), preprocessing, channels_last=True)
    model.reset_classifier(7, linear_head)
    return model


def test_names_are_read_from_timms_source() -> None:
    assert installed_architectures() == set(timm.list_models())


@pytest.mark.parametrize("name", mostly_slow(SOME, *DEFAULT))
def test_families(name: str) -> None:
    """A new head, outputs in two halves as from kept features, and layers from the input on."""
    with torch.device("meta"):
        model = classifier(f"timm/{name}").eval()
        images = torch.zeros(2, 3, *[timm_preprocessing(f"timm/{name}").crop_px] * 2, dtype=torch.uint8)
        assert model(images).shape == model.forward_head(model.forward_features(images)).shape == (2, 7)
    names = [key for key, _ in model.net.named_modules()]
    first = [min(names.index(block) for block in stage) for stage in model.stages]
    assert len(first) >= 5 and not any(model.in_head(block) for block in model.blocks)
    assert set_trainable(model, trained_modules(model, "head")) >= set(model.blocks)


def test_stages_are_timms_groups() -> None:
    with torch.device("meta"):
        model = classifier("timm/resnet18")
    assert model.stages[:3] == [["conv1", "bn1"], ["layer1.0"], ["layer1.1"]] and len(model.stages) == 9
    set_trainable(model, trained_modules(model, "25%"))
    trained = dict.fromkeys(name.rpartition(".")[0] for name, p in model.net.named_parameters() if p.requires_grad)
    assert {name.split(".")[0] for name in trained} == {"layer4", "fc"}


@pytest.mark.slow
def test_groups_that_do_not_follow_the_order_of_the_modules() -> None:
    """Twins makes its patches in a list in front of the blocks, each of which belongs to a later block."""
    with torch.device("meta"):
        model = classifier("timm/twins_svt_small")
    set_trainable(model, trained_modules(model, "50%"))
    stages = model.stages
    late = tuple(f"{block}." for stage in stages[len(stages) - round(len(stages) / 2) :] for block in stage)
    for name, parameter in model.net.named_parameters():
        assert parameter.requires_grad == (model.in_head(name) or name.startswith(late)), name


def test_a_step_is_timms_own(tmp_path: Path) -> None:
    """Two halves, the mlp head and all gradients of a network that computes; normalisation is the network's."""
    torch.manual_seed(0)
    model = classifier(TINY, 32).eval()
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    config = timm.get_pretrained_cfg("lcnet_035")
    mean, std = torch.tensor(config.mean).view(3, 1, 1), torch.tensor(config.std).view(3, 1, 1)
    with torch.inference_mode():
        expected = model.net((images / 255 - mean) / std)
        torch.testing.assert_close(model(images), expected, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(model.forward_head(model.forward_features(images)), expected, rtol=1e-3, atol=1e-4)
    model.reset_classifier(3, mlp_head)
    nn.functional.cross_entropy(model.train()(images), torch.tensor([0, 1, 2, 0])).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As timm saves them, with statistics in BatchNorm."""
    torch.manual_seed(1)
    state = timm.create_model("lcnet_035").state_dict()
    state = {key: value + 0.1 * torch.rand_like(value) if "running" in key else value for key, value in state.items()}
    file = tmp_path_factory.mktemp("weights") / "lcnet.safetensors"
    save_file(state, file)
    return file


@pytest.fixture(scope="module")
def run(weights: Path, colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_train(
        tmp_path_factory.mktemp("timm") / "run", "data=folder", f"data.root={colors}", "data.image_size_px=32",
        f"backbone={TINY}", f"backbone.weights={weights}", "param_groups.layer_decay=0.8",
    )  # fmt: skip


def test_frozen_batch_norm(run: Run, weights: Path) -> None:
    """By itself, with pretrained weights; everything else has moved.

    The checkpoint's names are timm's, and its answers those of timm's network.
    """
    state = {key.removeprefix("model.net."): v for key, v in run.checkpoint()["state_dict"].items() if ".net." in key}
    before = build_backbone(TINY, weights, 32).state_dict()
    theirs = timm.create_model("lcnet_035", num_classes=3)
    norms = [key for key, module in theirs.named_modules() if isinstance(module, nn.BatchNorm2d)]
    of_norms = {key for key in before if key.startswith(tuple(f"{norm}." for norm in norms))}
    equal = {key for key in before if not key.startswith("classifier.") and torch.equal(before[key], state[key])}
    assert equal == of_norms
    assert "layers as pretrained (freeze.batch_norm=false lets them train)" in run.log
    theirs.load_state_dict(state)
    model = TrainedModel.open(str(run.directory)).task.model
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), theirs.eval()(model.normalise(images)), rtol=1e-4, atol=1e-4)


def test_predict_from_the_checkpoint_alone(run: Run, weights: Path, colors: Path, tmp_path: Path, command) -> None:
    """Nothing is downloaded, and the file of the weights is not read."""
    weights.rename(weights.with_suffix(".away"))
    try:
        answer: Answer = command("predict", f"ckpt={run.directory}", f"images={colors}", f"output={tmp_path}/p.csv")
    finally:
        weights.with_suffix(".away").rename(weights)
    assert answer.status == 0, answer.err
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 61


@pytest.mark.parametrize("name", ["timm/hf-hub:someone/net", "timm/../lcnet_035", "timm/local-dir:net"])
def test_a_checkpoint_names_networks_of_timms_list_alone(run: Run, name: str, tmp_path: Path) -> None:
    checkpoint = run.checkpoint()
    checkpoint["finetune"]["config"]["backbone"]["name"] = name
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(ConfigError, match=r"backbone\.name is .* and not a network of torchvision or timm"):
        TrainedModel.open(str(tmp_path / "x.ckpt"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("timm/lcnet_035", None),
        ("timm/convnext_atoo", "is no network of the installed timm. Did you mean 'timm/convnext_atto'?"),
        ("timm/hf-hub:someone/net", "is no name of timm's: give timm/<network> or timm/<network>.<weights>"),
    ],
)
def test_names_are_judged_before_torch_is_imported(name: str, text: str | None, command) -> None:
    problems = list(name_problems(name))
    assert not problems if text is None else text in problems[0]
    if text:
        key = "backbone.name" if ":" in name else "backbone"
        answer = command("train", f"{key}={name}", "debug=fast_dev_run")
        assert answer.status == 1 and text in answer.err


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, command) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # Python's own way to say that there is none
    installed_architectures.cache_clear()
    try:
        answer = command("train", f"backbone={TINY}", "debug=fast_dev_run")
    finally:
        installed_architectures.cache_clear()
    assert answer.status == 1 and "timm is not installed: uv sync --extra timm" in answer.err


def test_weights_and_what_is_said_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"has no weights 'a1_in1'.*Did you mean 'timm/resnet50.a1_in1k'"):
        find_weights("timm/resnet50.a1_in1", None)
    with pytest.raises(ConfigError, match="several heads"):
        find_weights("timm/crossvit_9_240", None)
    with pytest.raises(ConfigError, match=r"Other weights of timm's stand in the name"):
        find_weights("timm/resnet50", "a1_in1k")

    def unknown(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigError, match="weights of timm/lcnet_050 could not be downloaded") as error:
        build_backbone("timm/lcnet_050", find_weights("timm/lcnet_050", "DEFAULT"), 32)
    for way in ("HF_HUB_CACHE", "backbone.weights=<path", "backbone.weights=null"):
        assert way in str(error.value)
    with pytest.raises(ConfigError, match="timm has no pretrained weights of timm/lcnet_035"):
        build_backbone(TINY, find_weights(TINY, "DEFAULT"), 32)


def test_preprocessing_is_that_of_the_weights() -> None:
    assert preprocessing_of("timm/resnet50.a1_in1k", None).resize_px == 235  # 224 / 0.95
    assert preprocessing_of("timm/tf_efficientnet_lite0", None).mean == (0.5, 0.5, 0.5)
    squashed = preprocessing_of("timm/convnext_base.fb_in22k_ft_in1k_384", None)
    assert (squashed.resize_mode, squashed.crop_px, squashed.interpolation) == ("stretch", 384, "bicubic")


def test_other_image_sizes(tmp_path: Path) -> None:
    """Embeddings of position are fitted; a network that cannot take a size says so."""
    state = timm.create_model("vit_tiny_patch16_224").state_dict()
    save_file(state, tmp_path / "w.safetensors")
    net = build_backbone("timm/vit_tiny_patch16_224", tmp_path / "w.safetensors", 64)
    assert net.pos_embed.shape == (1, 1 + 4 * 4, 192)
    with pytest.raises(ConfigError, match=r"data.image_size_px=16 does not fit timm/lcnet_035: it must be at least 32"):
        build_backbone(TINY, None, 16)
    with pytest.raises(ConfigError, match=r"data.image_size_px=72 does not fit .*: it must be a multiple of 16"):
        build_backbone("timm/vit_tiny_patch16_224", None, 72)


def test_frozen_norms_keep_timms_activations() -> None:
    """timm's BatchNorm has the activation in it."""
    net = new_timm_network(TINY, 32).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = net(images)
        freeze_norms(net)
        torch.testing.assert_close(net(images), before, rtol=1e-4, atol=1e-5)
    assert not [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]


def test_stochastic_depth() -> None:
    net = build_backbone("timm/convnext_atto", None, 32, stochastic_depth=0.3)
    assert max(getattr(module, "drop_prob", 0) or 0 for module in net.modules()) == pytest.approx(0.3)
    with pytest.raises(ConfigError, match="timm has no residual blocks to drop in timm/vgg11"):
        build_backbone("timm/vgg11", None, 32, stochastic_depth=0.3)


def test_an_option_is_composed() -> None:
    backbone = compose("backbone=timm/resnet50.a1_in1k").backbone
    assert (backbone.name, backbone.weights) == ("timm/resnet50.a1_in1k", "DEFAULT")


@pytest.mark.slow
@pytest.mark.parametrize("task", ["multilabel", "regression", "detection", "segmentation", "instance_segmentation"])
def test_other_tasks(task: str, tmp_path: Path, colors: Path) -> None:
    settings = ["data.scenes=24", "data.scene_px=64", "data.batch_size=4"]
    if task in ("multilabel", "regression"):
        column = "red" if task == "multilabel" else "amount"
        rows = [f"{file},{place % 2}" for place, file in enumerate(sorted(colors.rglob("*.*")))]
        (tmp_path / "table.csv").write_text(f"path,{column}\n" + "\n".join(rows) + "\n")
        settings = [
            "data=csv", f"data.file={tmp_path}/table.csv", "data.path_column=path", f"data.label_columns=[{column}]",
            "data.image_size_px=32",
        ]  # fmt: skip
    run = run_train(tmp_path / "run", f"task={task}", f"backbone={TINY}", "backbone.weights=null", *settings)
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    assert TrainedModel.open(str(run.directory)).task.model(images) is not None


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_export(format: str, run: Run, tmp_path: Path, command) -> None:
    """The command itself compares the file with the checkpoint."""
    answer = command(
        "export",
        f"ckpt={run.directory}",
        f"format={format}",
        f"output={tmp_path}/model.x".replace(".x", ".onnx" if format == "onnx" else ".pt2"),
    )
    assert answer.status == 0, answer.err


@pytest.mark.slow
def test_converted_weights_are_of_the_same_classes(tmp_path: Path) -> None:
    """All of the network's entries; and classes that are alike to SqueezeNet's ImageNet head are alike to theirs."""
    from scripts.convert_efficientnet import NAME, converted

    save_file(converted(), tmp_path / "w.safetensors")
    weights_SC = build_backbone(NAME, tmp_path / "w.safetensors", 224).state_dict(), converted()
    assert torch.equal(weights_SC[0]["blocks.6.0.conv_pwl.weight"], weights_SC[1]["blocks.6.0.conv_pwl.weight"])

    def alike(weight_SC: torch.Tensor) -> torch.Tensor:
        centred = nn.functional.normalize(weight_SC - weight_SC.mean(dim=0))
        return (centred @ centred.T)[~torch.eye(len(weight_SC), dtype=torch.bool)]

    squeezenet = load_file(PROJECT_ROOT / "src/assets/squeezenet1_1_imagenet.safetensors")
    pair = alike(squeezenet["classifier.1.weight"].flatten(1)), alike(converted()["classifier.weight"])
    assert torch.corrcoef(torch.stack(pair))[0, 1] > 0.5
