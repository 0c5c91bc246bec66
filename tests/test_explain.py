"""src.explain: maps lie where the model looks, change with its weights, and leave the model as it was."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Answer, Run, Runner
from PIL import Image
from torch import Tensor, nn

from src.models.classifier import ImageClassifier
from src.models.grad_cam import explain_batch, find_map_layer, for_explaining
from src.models.heads import linear_head
from src.models.weights import build_backbone, find_weights, preprocessing_of
from src.settings.errors import ConfigError


def network(name: str, weights: str | None, size_px: int) -> ImageClassifier:
    """For two classes."""
    torch.manual_seed(0)
    preprocessing = preprocessing_of(name, None).with_size(size_px, None)
    net = build_backbone(name, find_weights(name, weights), size_px)
    model = ImageClassifier(net, preprocessing, channels_last=False)
    model.reset_classifier(2, linear_head)
    return model


SQUEEZENET = "src/assets/squeezenet1_1_imagenet.safetensors"


def noise(count: int, size_px: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size_px, size_px), dtype=torch.uint8, generator=generator)


def rank_correlation(one: Tensor, other: Tensor) -> float:
    ranks = [part.flatten().argsort().argsort().double() for part in (one, other)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def patches(count: int, size_px: int = 96, patch_px: int = 32) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
    """Grey noise with a striped patch in one corner; the direction of the stripes is the class."""
    images_BCHW, generator = noise(count, size_px) // 4 + 96, np.random.default_rng(0)
    labels_B, corners = torch.arange(count) % 2, []
    stripes = (torch.arange(patch_px) // 4 % 2 * 255).to(torch.uint8)
    for i in range(count):
        top, left = (int(generator.integers(2)) * (size_px - patch_px) for _ in range(2))
        pattern = stripes[:, None] if labels_B[i] else stripes[None, :]
        images_BCHW[i, :, top : top + patch_px, left : left + patch_px] = pattern.expand(patch_px, patch_px)
        corners.append((top, left))
    return images_BCHW, labels_B, corners


@pytest.fixture(scope="module")
def patch_model() -> ImageClassifier:
    model = network("squeezenet1_1", SQUEEZENET, 96)
    images_BCHW, labels_B, _ = patches(64)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    for step in range(24):
        rows = torch.arange(16) + 16 * (step % 4)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images_BCHW[rows]), labels_B[rows]).backward()
        optimizer.step()
    with torch.inference_mode():
        right = (model.eval()(images_BCHW).argmax(dim=1) == labels_B).float().mean()
    assert right > 0.95
    return model


def test_the_map_lies_on_the_object(patch_model: ImageClassifier) -> None:
    """Pointing game (Zhang et al. 2018): the highest place is in the patch, which covers a ninth of the image."""
    images_BCHW, labels_B, corners = patches(24)
    maps_BHW = explain_batch(patch_model, images_BCHW, labels_B)
    assert maps_BHW.shape == (24, 96, 96) and maps_BHW.dtype == torch.float32
    assert maps_BHW.min() >= 0 and maps_BHW.amax(dim=(1, 2)).max() == 1
    hits, shares = 0, []
    for map_HW, (top, left) in zip(maps_BHW, corners, strict=True):
        y, x = divmod(int(map_HW.argmax()), 96)
        hits += top - 8 <= y < top + 40 and left - 8 <= x < left + 40
        shares.append(float(map_HW[top : top + 32, left : left + 32].sum() / map_HW.sum().clamp_min(1e-9)))
    print("hits", hits, "mean share", np.mean(shares))
    assert hits >= 21 and np.mean(shares) > 0.28  # by chance a ninth


def test_random_weights_give_other_maps(patch_model: ImageClassifier) -> None:
    """Adebayo et al. 2018, arXiv 1810.03292: a map that stayed the same would show the image and not the model."""
    images_BCHW, labels_B, _ = patches(24)
    trained = explain_batch(patch_model, images_BCHW, labels_B)
    again = explain_batch(patch_model, images_BCHW, labels_B)
    random = explain_batch(network("squeezenet1_1", None, 96), images_BCHW, labels_B)
    assert rank_correlation(trained, again) == pytest.approx(1)
    correlations = [rank_correlation(one, other) for one, other in zip(trained, random, strict=True)]
    print("rank correlation", np.mean(correlations))
    assert abs(np.mean(correlations)) < 0.5


@pytest.mark.parametrize(
    ("name", "size_px", "layer", "side"),
    [
        ("squeezenet1_1", 64, "classifier.0", 3),
        ("resnet18", 64, "layer4", 2),
        ("resnet18", 32, "layer3", 2),  # layer4 has one place
        ("vit_b_32", 96, "encoder.layers.encoder_layer_11.ln_1", 3),  # behind it only the class token is read
        pytest.param("alexnet", 64, "features.11", 3, marks=pytest.mark.slow),
        pytest.param("vgg11", 64, "features", 2, marks=pytest.mark.slow),
        pytest.param("swin_t", 64, "permute", 2, marks=pytest.mark.slow),
        pytest.param("convnext_tiny", 64, "features", 2, marks=pytest.mark.slow),
    ],
)
def test_the_layer_is_found(name: str, size_px: int, layer: str, side: int) -> None:
    model, images_BCHW = network(name, None, size_px), noise(2, size_px)
    with for_explaining(model):
        found = find_map_layer(model, images_BCHW[:1])
    assert (found.name, found.side) == (layer, side)
    maps_BHW = explain_batch(model, images_BCHW, torch.tensor([0, 1]))
    assert maps_BHW.shape == (2, size_px, size_px) and maps_BHW.min() >= 0 and maps_BHW.max() <= 1


def test_channels_last_maps_and_tokens_are_read_as_the_same_maps() -> None:
    from src.models.grad_cam import layer_of

    maps_1Chw = torch.randn(1, 5, 3, 3)
    last, tokens = maps_1Chw.permute(0, 2, 3, 1), maps_1Chw.flatten(2).permute(0, 2, 1)
    with_class = torch.cat([torch.zeros(1, 1, 5), tokens], dim=1)
    for output in (maps_1Chw, last, tokens, with_class):
        layer = layer_of("x", output, 1)
        assert layer is not None and torch.equal(layer.to_maps(output), maps_1Chw)


def test_the_network_is_left_as_it_was(patch_model: ImageClassifier) -> None:
    """Frozen throughout, in training mode, inside inference mode, as a report might call it."""
    images_BCHW, labels_B, _ = patches(2)
    want = explain_batch(patch_model, images_BCHW, labels_B)
    patch_model.train()
    patch_model.net.features[0].training = False
    patch_model.requires_grad_(False)
    patch_model.head.requires_grad_(True)
    before = {name: value.clone() for name, value in patch_model.state_dict().items()}
    flags = [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in patch_model.modules()]
    wanted = [p.requires_grad for p in patch_model.parameters()]
    state = torch.get_rng_state()
    with torch.inference_mode():
        maps_BHW = explain_batch(patch_model, images_BCHW.clone(), labels_B.clone())
    assert torch.equal(maps_BHW, want)
    assert torch.equal(state, torch.get_rng_state())
    assert flags == [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in patch_model.modules()]
    assert wanted == [p.requires_grad for p in patch_model.parameters()]
    assert all(torch.equal(value, before[name]) for name, value in patch_model.state_dict().items())
    patch_model.requires_grad_(True)
    patch_model.eval()


def test_nothing_to_draw_is_said() -> None:
    class OnePlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 32), nn.Linear(4, 2)

        def forward(self, images_BCHW: Tensor) -> Tensor:
            return self.head(self.conv(images_BCHW).flatten(1))

    model = ImageClassifier(OnePlace(), preprocessing_of("squeezenet1_1", None), channels_last=False)
    with pytest.raises(ConfigError, match="OnePlace has no layer whose maps have more than one place"):
        explain_batch(model, noise(1, 32), torch.tensor([0]))


def test_same_maps_as_captum() -> None:
    """uv run --with captum pytest tests/test_explain.py -k captum"""
    attr = pytest.importorskip("captum.attr")
    for name, size_px in (("squeezenet1_1", 96), ("resnet18", 96)):
        model, images_BCHW, labels_B = network(name, None, size_px).eval(), noise(3, size_px), torch.tensor([0, 1, 1])
        with for_explaining(model):
            layer = find_map_layer(model, images_BCHW[:1])
        method = attr.LayerGradCam(model.net, model.net.get_submodule(layer.name))
        inputs_BCHW = model.normalise(images_BCHW).detach()
        theirs = method.attribute(inputs_BCHW, target=labels_B, relu_attributions=True).detach()
        theirs = nn.functional.interpolate(theirs, size=(size_px, size_px), mode="bilinear")[:, 0]
        theirs = theirs / theirs.amax(dim=(1, 2), keepdim=True).clamp_min(1e-30)
        torch.testing.assert_close(explain_batch(model, images_BCHW, labels_B), theirs, atol=1e-4, rtol=0)


# ------------------------------------------------------------------------------------------------------------- command


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "explanations.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_command(colors: Path, colors_run: Run, tmp_path: Path, command) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for color in ("red", "blue"):
        shutil.copy(next((colors / color).glob("*.png")), images / f"{color}.png")
    (images / "broken<b>.jpg").write_bytes(b"\xff\xd8\xff broken")
    out = tmp_path / "out"
    arguments = [f"ckpt={colors_run.directory}", f"images={images}", f"output={out}", "accelerator=cpu"]
    answer: Answer = command("explain", *arguments, "batch_size=2")
    assert answer.status == 0, answer.err
    blue, broken, red = rows_of(out)
    assert "cannot identify image file" in broken["error"] and broken["file"] == ""
    for name, row in (("blue", blue), ("red", red)):
        assert row["prediction"] == row["explained"] == name and row["error"] == ""
        assert row["confidence"] == row["explained_probability"] and 0.5 < float(row["confidence"]) <= 1
        assert Image.open(out / row["file"]).size == (472, 262)
    page = (out / "index.html").read_text(encoding="utf-8")
    assert blue["file"] in page and "broken&lt;b&gt;.jpg" in page and "<b>" not in page

    answer = command("explain", *arguments, "class_name=green")
    assert answer.status == 0, answer.err
    blue, _, _ = rows_of(out)
    assert blue["explained"] == "green" and blue["prediction"] == "blue"
    assert float(blue["explained_probability"]) < float(blue["confidence"])


def test_images_of_the_user_are_kept(colors: Path, colors_run: Run, tmp_path: Path, command) -> None:
    """They may be called as the maps are."""
    images, out = tmp_path / "images", tmp_path / "out"
    for folder in (images, out):
        folder.mkdir()
        shutil.copy(next((colors / "red").glob("*.png")), folder / "00001.png")
    before = (images / "00001.png").read_bytes()
    arguments = [f"ckpt={colors_run.directory}", f"images={images}", "accelerator=cpu"]
    for output, text in (
        (images, "is in the folder of the images"),
        (images / "maps", "is in the folder of the images"),
        (out, "00001.png' is there already and is no earlier output"),
    ):
        answer: Answer = command("explain", *arguments, f"output={output}")
        assert answer.status == 1 and text in answer.err and "Traceback" not in answer.err, answer.err
    answer = command("explain", arguments[0], f"images={images}/*.png", f"output={images}", "overwrite=true")
    assert answer.status == 1 and "is a file that is read" in answer.err
    assert (images / "00001.png").read_bytes() == (out / "00001.png").read_bytes() == before
    assert [path.name for path in images.iterdir()] == [path.name for path in out.iterdir()] == ["00001.png"]


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_several_classes_and_numbers(task: str, colors: Path, tmp_path: Path, trained: Runner, command) -> None:
    """A map for each class that is answered, or for one target."""
    files = sorted(colors.glob("*/*.png"))
    labels = [f"{file.parent.name};any" if task == "multilabel" else str(4 + i) for i, file in enumerate(files)]
    table = tmp_path / "t.csv"
    lines = [f"{file},{label}" for file, label in zip(files, labels, strict=True)]
    table.write_text("\n".join(["path,label", *lines]) + "\n")
    settings = [f"task={task}", f"data.file={table}", "data.image_size_px=32", "trainer.max_epochs=1", "test=false"]
    run = trained(*settings)
    out = tmp_path / "out"
    answer: Answer = command("explain", f"ckpt={run.directory}", f"images={files[0].parent}", f"output={out}")
    assert answer.status == 0, answer.err
    rows = rows_of(out)
    assert all((out / row["file"]).is_file() for row in rows) and not any(row["error"] for row in rows)
    by_image: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_image.setdefault(row["path"], []).append(row)
    for of_image in by_image.values():
        explained = [row["explained"] for row in of_image]
        if task == "regression":
            assert explained == ["label"] and float(of_image[0]["prediction"]) > 0
        else:
            answered = [name for name in of_image[0]["prediction"].split(";") if name]
            assert explained == answered or (not answered and len(explained) == 1)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["class_name=gren"], "class_name='gren' is unknown to this model. Did you mean 'green'?"),
        (["class=green"], "class is no setting. Did you mean 'class_name'?"),
        (["output={file}"], "is no folder that can be written to"),
        (["batch_size=0"], "batch_size=0 is out of range"),
        (["images=nope*"], "images='nope*' matches no file"),
    ],
)
def test_mistakes(colors: Path, colors_run: Run, command, arguments: list[str], text: str) -> None:
    image = next(colors.rglob("*.png"))
    given = [argument.format(file=image) for argument in arguments]
    images = [] if any(argument.startswith("images") for argument in given) else [f"images={image}"]
    answer: Answer = command("explain", f"ckpt={colors_run.directory}", *images, *given)
    assert answer.status == 1 and text in answer.err and "Traceback" not in answer.err
