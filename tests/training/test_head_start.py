"""head.start=pretrained: the new head knows from the start what the pretrained one says of the classes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMALL, Answer, Run, Runner, compose, typed
from safetensors.torch import save_file
from support.families import FAMILIES
from support.slow import mostly_slow, one_in
from torch import nn

from src.models.classifier import ImageClassifier, pooled
from src.models.weights import build_backbone, preprocessing_of, pretrained_head
from src.settings.errors import ConfigError
from src.training.tuning.head_start import some_of_each_class, start_from_pretrained


@pytest.mark.parametrize("name", mostly_slow(FAMILIES, "googlenet", "squeezenet1_1"))
def test_the_pretrained_head_is_the_networks_own(name: str, tmp_path: Path) -> None:
    """On what the head gets, it says what the whole network would say."""
    torch.manual_seed(0)
    preprocessing = preprocessing_of(name, None).with_size(FAMILIES[name], None)
    net = build_backbone(name, None, preprocessing.crop_px)
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    if name == "squeezenet1_1":
        net.classifier[2] = nn.Identity()  # a ReLU behind the head
    model = ImageClassifier(net, preprocessing, channels_last=False).eval()
    head = pretrained_head(name, tmp_path / "weights.safetensors", model.head_names[0])
    images = torch.randint(0, 256, (2, 3, FAMILIES[name], FAMILIES[name]), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(head(model.forward_features(images).flatten(1)), model(images), rtol=1e-4, atol=1e-4)


def started(*settings: str) -> tuple[Any, Any]:
    """A task whose head was started, and its data."""
    from src.build.data import build_datamodule
    from src.build.task import build_task
    from src.build.trainer import build_trainer
    from src.runs.run import TrainingRun
    from src.tasks.classification.task import ClassificationTask

    cfg = typed(*SMALL, "output_dir=nowhere", "head.start=pretrained", *settings)
    datamodule = build_datamodule(cfg)
    run = TrainingRun(cfg)
    task = build_task(ClassificationTask, run, datamodule)
    start_from_pretrained(cfg.backbone, task, datamodule, build_trainer(run))
    return task.eval(), datamodule


@pytest.mark.parametrize("dropout", mostly_slow([0.0, 0.3], 0.3))
def test_a_class_is_the_mixture_of_the_pretrained_classes_seen_in_it(colors: Path, dropout: float) -> None:
    settings = ["data=folder", f"data.root={colors}", "data.image_size_px=64", f"head.dropout={dropout}"]
    task, datamodule = started(*settings)
    batches = list(datamodule.evaluation_loader(datamodule.table.splits["train"]))
    labels = torch.cat([batch["label"] for batch in batches])
    images = torch.cat([batch["image"] for batch in batches])
    images_of = [images[labels == k] for k in range(3)]  # all of train, since they are fewer than 50

    cfg = compose()
    file = Path(cfg.backbone.weights)
    net = build_backbone("squeezenet1_1", file, 64).eval()
    head = pretrained_head("squeezenet1_1", file, "classifier.1")
    model = ImageClassifier(net, datamodule.preprocessing, channels_last=True)
    with torch.inference_mode():
        features = [pooled(model.forward_features(images_BCHW)) for images_BCHW in images_of]
        mixtures = torch.stack([head(features_BC).softmax(1).mean(0) for features_BC in features]) @ head.weight
        outputs = [task(images_BCHW) for images_BCHW in images_of]
        # softmax sees differences between classes alone
        wanted = [features_BC @ (mixtures - mixtures[0]).T for features_BC in features]
    shifts = [(ours - ours[:, :1]) - (theirs - theirs[:, :1]) for ours, theirs in zip(outputs, wanted, strict=True)]
    for shift in shifts:  # the same bias for every image
        torch.testing.assert_close(shift, shifts[0][:1].expand_as(shift), rtol=1e-3, atol=1e-3)
    centre = torch.stack([ours.mean(0) for ours in outputs]).mean(0)
    torch.testing.assert_close(centre, torch.zeros(3), rtol=0, atol=1e-3)
    assert np.mean([(ours.argmax(1) == k).float().mean() for k, ours in enumerate(outputs)]) > 0.8


def test_a_trained_network_lends_its_classes(trained: Runner, colors: Path, colors_run: Run) -> None:
    """Without any training to speak of, a head that starts from a head for the same classes is right."""
    weights = f"backbone.weights={colors_run.directory}/checkpoints/best.ckpt"
    common = ["data=folder", f"data.root={colors}", "data.image_size_px=32", "freeze=head_only", "optimizer.lr=1e-9"]
    run = trained(*common, weights, "head.start=pretrained", "trainer.max_epochs=1")
    assert run.metrics["val/acc"] == run.metrics["test/acc"] == 1.0
    assert "Head: starts from the pretrained classes of" in run.log and "blue: " not in run.log  # they have no names


def test_the_log_says_what_was_seen_in_each_class(colors: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "src"):
        started("data=folder", f"data.root={colors}", "data.image_size_px=64")
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("  blue: ") and line.count("%") == 3 for line in lines)


def test_a_class_without_readable_images_gets_no_weights(colors: Path, tmp_path: Path) -> None:
    shutil.copytree(colors, tmp_path / "data")
    for file in (tmp_path / "data" / "green").iterdir():
        file.write_bytes(b"no image")
    task, _ = started("data=folder", f"data.root={tmp_path}/data", "data.image_size_px=64")
    weight = task.model.head.weight.flatten(1)
    assert weight.isfinite().all() and task.model.head.bias.isfinite().all()
    assert weight[1].norm() < 1e-3 * weight[0].norm()


def test_images_are_taken_from_the_whole_split() -> None:
    labels = np.array([0] * 1000 + [1] * 7 + [2] * 60)
    rows = np.arange(0, len(labels))
    chosen = some_of_each_class(labels, rows, 50)
    assert np.bincount(labels[chosen]).tolist() == [50, 7, 50] and len(set(chosen)) == len(chosen)
    assert {0, 999, 1007, 1066} <= set(chosen.tolist())


@pytest.mark.parametrize(
    ("settings", "text"),
    one_in(
        3,
        [
            (["backbone.weights=null"], "head.start=pretrained needs the classes of pretrained weights"),
            (["task=regression", "data=csv", "data.file=x.csv"], "head.start=pretrained is for one class per image"),
            (["head=mlp", "+head.start=pretrained"], "head.start=pretrained is for head=linear"),
            (["head.start=pretraind"], "Did you mean"),
        ],
    ),
)
def test_mistakes(command: Callable[..., Answer], settings: list[str], text: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("path,label\n")
    settings = [setting.replace("x.csv", f"{tmp_path}/x.csv") for setting in settings]
    given = [] if any("head.start" in setting for setting in settings) else ["head.start=pretrained"]
    answer = command("train", "trainer=cpu", *given, *settings)
    assert answer.status == 1 and text in answer.err and "Traceback" not in answer.err


def test_weights_without_a_head_are_refused(tmp_path: Path) -> None:
    net = build_backbone("squeezenet1_1", None, 32)
    save_file({k: v for k, v in net.state_dict().items() if "classifier" not in k}, tmp_path / "body.safetensors")
    with pytest.raises(ConfigError, match=r"has no 'classifier.1.weight'"):
        pretrained_head("squeezenet1_1", tmp_path / "body.safetensors", "classifier.1")
