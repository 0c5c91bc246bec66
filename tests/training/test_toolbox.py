"""What people who fine-tune for a living use: rates by layer, mixed images, averaged weights, dropped blocks."""

import csv
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import Answer, Runner, compose, typed
from lightning import LightningModule, Trainer
from support.families import FAMILIES, classifier
from support.slow import mostly_slow, one_in
from support.watching import watched
from torch.nn import functional as F

from src.build.task import build_mixing
from src.models.catalogue import new_network, set_stochastic_depth
from src.models.freeze import set_trainable, trained_modules
from src.training.losses import FocalLoss
from src.training.phases import ParameterGroups
from src.training.schedules import cosine, onecycle


@pytest.fixture(scope="module")
def plain(colors: Path) -> tuple[str, ...]:
    return ("data=folder", f"data.root={colors}", "data.image_size_px=32", "data.batch_size=16", "test=false")


# ------------------------------------------------------------------------------------------------- parameter groups


@pytest.mark.parametrize("name", mostly_slow(FAMILIES, "googlenet", "resnet18", "shufflenet_v2_x0_5", "swin_t"))
def test_layer_decay_falls_from_the_head_to_the_input_in_every_family(name: str) -> None:
    with torch.device("meta" if "regnet" not in name else "cpu"):
        model = classifier(name, FAMILIES[name])
    adamw = partial(torch.optim.AdamW, lr=1.0, weight_decay=0.1)
    optimizer = ParameterGroups(layer_decay=0.5, head_lr_factor=10.0).build(adamw, model)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(list(model.net.parameters()))  # each in one group
    blocks = model.blocks
    assert len(blocks) > 5
    by_name = {parameter_name: rates[id(p)] for parameter_name, p in model.net.named_parameters()}
    for depth, block in enumerate(blocks):
        inside = {rate for parameter, rate in by_name.items() if parameter.startswith(f"{block}.")}
        assert inside == {0.5 ** (len(blocks) - depth)}, block
    assert {rate for parameter, rate in by_name.items() if model.in_head(parameter)} == {10.0}
    for parameter in ("class_token", "encoder.pos_embedding"):
        if parameter in by_name:
            assert by_name[parameter] == 0.5 ** len(blocks)


def test_norms_biases_and_embeddings_are_not_decayed() -> None:
    def undecayed(name: str, **settings: bool) -> set[str]:
        with torch.device("meta"):
            model = classifier(name, FAMILIES[name])
        adamw = partial(torch.optim.AdamW, lr=1.0, weight_decay=0.1)
        optimizer = ParameterGroups(**settings).build(adamw, model)
        free = {id(p) for group in optimizer.param_groups if group["weight_decay"] == 0 for p in group["params"]}
        return {parameter for parameter, p in model.net.named_parameters() if id(p) in free}

    resnet = undecayed("resnet18")
    assert {"bn1.weight", "bn1.bias", "fc.bias"} <= resnet and not {"conv1.weight", "fc.weight"} & resnet
    vit = undecayed("vit_b_32")
    assert {"class_token", "encoder.pos_embedding", "encoder.layers.encoder_layer_0.mlp.0.bias"} <= vit
    assert "conv_proj.weight" not in vit
    assert any("relative_position_bias_table" in parameter for parameter in undecayed("swin_t"))
    assert any("layer_scale" in parameter for parameter in undecayed("convnext_tiny"))
    assert undecayed("resnet18", decay_norms_and_biases=True) == set()


def test_groups_keep_their_proportions_under_any_schedule() -> None:
    model = classifier("squeezenet1_1")
    groups = ParameterGroups(layer_decay=0.5, head_lr_factor=3.0)
    for schedule in (cosine, onecycle):
        sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
        optimizer = groups.build(sgd, model)
        scheduler = schedule(optimizer, steps_per_epoch=3, epochs=2)
        for _ in range(6):
            factors = {round(group["lr"] / group["lr_scale"], 9) for group in optimizer.param_groups}
            assert len(factors) == 1
            optimizer.step()
            scheduler.step()
    # The head alone has nothing to be faster than.
    set_trainable(model, trained_modules(model, "head"))
    optimizer = groups.build(partial(torch.optim.SGD, lr=0.1), model)
    assert {group["lr"] for group in optimizer.param_groups} == {0.1}


def test_layer_decay_moves_early_layers_less(trained: Runner, plain: tuple[str, ...], tmp_path: Path) -> None:
    before = classifier_weights()
    run = trained(*plain, "optimizer=sgd", "optimizer.lr=1e-3", "param_groups.layer_decay=0.3")
    after = run.checkpoint("last")["state_dict"]

    def moved(name: str) -> float:
        return float((after[f"model.net.{name}"] - before[name]).abs().max())

    assert 0 < moved("features.0.weight") < 1e-2 * moved("features.12.squeeze.weight")


def classifier_weights() -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file("src/assets/squeezenet1_1_imagenet.safetensors")


# --------------------------------------------------------------------------------------------- mixed images, dropping


def test_mixing_gives_shares_of_classes() -> None:
    torch.manual_seed(0)
    images, labels = 255 * torch.rand(8, 3, 6, 6), torch.arange(8) % 3
    cfg = compose("augment.mixup=1.0").augment
    mixing = build_mixing(cfg, 3)
    assert mixing is not None and build_mixing(compose().augment, 3) is None
    mixed, shares = mixing(images, labels)
    assert shares.shape == (8, 3) and torch.allclose(shares.sum(dim=1), torch.ones(8))
    share = (mixed[1] - images[0]).flatten()[0] / (images[1] - images[0]).flatten()[0]
    assert shares[1, 1] == pytest.approx(float(share), abs=1e-4)
    both = build_mixing(compose("augment.mixup=1.0", "augment.cutmix=1.0").augment, 3)
    kinds = {bool(((both(images, labels)[0] - images) == 0).any()) for _ in range(30)}  # cutmix leaves pixels alone
    assert kinds == {True, False}


def test_focal_loss_takes_shares() -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    for weight in (None, torch.tensor([1.0, 2.0, 3.0, 4.0])):
        loss = FocalLoss(2.0, weight)
        torch.testing.assert_close(loss(logits, labels), loss(logits, F.one_hot(labels, 4).float()))


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_metrics_are_right_with_mixed_images(trained: Runner, plain: tuple[str, ...], loss: str) -> None:
    run = trained(*plain, "augment.mixup=0.4", "augment.cutmix=1.0", f"loss={loss}", "trainer.max_epochs=5")
    assert 0 < run.metrics["last/train/acc"] <= 1 and run.metrics["val/acc"] > 0.8


def test_a_multilabel_task_mixes_too(tmp_path: Path, colors: Path, trained: Runner) -> None:
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        writer.writerows([str(p), f"{p.parent.name};image"] for p in sorted(colors.rglob("*.*g")))
    run = trained(
        *("task=multilabel", f"data.file={tmp_path}/table.csv", "data.image_size_px=32", "data.batch_size=16"),
        *("augment.mixup=0.4", "trainer.max_epochs=1", "test=false"),
    )
    assert run.metrics["last/train/loss"] > 0


@pytest.mark.parametrize(
    ("settings", "text"),
    one_in(
        3,
        [
            (["task=regression", "data.file=README.md", "augment.mixup=0.2"], "augment.mixup=0.2 mixes classes"),
            (["augment.cutmix=1.0", "data.cache_views=4"], "augment.cutmix=1 mixes images, and data.cache_views=4"),
            (["backbone.stochastic_depth=0.3"], "squeezenet1_1 has no residual blocks that torchvision can drop"),
            (["param_groups.layer_decay=1.5"], "param_groups.layer_decay=1.5 is out of range"),
            (["ema_decay=2"], "ema_decay=2 is out of range"),
            (["param_groups.layer_decy=0.5"], "Did you mean 'param_groups.layer_decay'?"),
        ],
    ),
)
def test_mistakes(command, settings: list[str], text: str) -> None:
    answer: Answer = command("train", *settings)
    assert answer.status == 1 and text in answer.err and "Traceback" not in answer.err


def test_stochastic_depth_is_scaled_in_torchvisions_proportions() -> None:
    from torchvision.ops import StochasticDepth

    found = 0
    for name in ("convnext_tiny", "efficientnet_b0", "swin_t", "maxvit_t"):
        with torch.device("meta"):
            net = new_network(name, 224)
        before = [module.p for module in net.modules() if isinstance(module, StochasticDepth)]
        set_stochastic_depth(net, name, 0.6)
        after = [module.p for module in net.modules() if isinstance(module, StochasticDepth)]
        assert max(after) == pytest.approx(0.6)
        assert after == pytest.approx([p * 0.6 / max(before) for p in before])
        found += len(after)
    assert found > 40


# ------------------------------------------------------------------------------------------------------------ averages


def test_the_moving_average_is_right_from_the_first_epoch_on(trained: Runner, plain: tuple[str, ...]) -> None:
    """Recomputed here from the weights after every step; validation and checkpoints see it and not the raw weights."""
    history, validated = [], []

    def after_step(trainer: Trainer, task: LightningModule, *_: object) -> None:
        history.append(task.model.net.features[0].weight.detach().clone())

    def at_validation(trainer: Trainer, task: LightningModule) -> None:
        validated.append((len(history), task.model.net.features[0].weight.detach().clone()))

    with watched(on_train_batch_end=after_step, on_validation_epoch_end=at_validation) as watching:
        run = trained(*plain, "ema_decay=0.8", "trainer.max_epochs=2", "optimizer.lr=1e-3", *watching)
    average = classifier_weights()["features.0.weight"].clone()
    expected = []
    for step, weight in enumerate(history, start=1):
        kept = min(0.8, (1 + step) / (10 + step))
        average = kept * average + (1 - kept) * weight
        expected.append(average.clone())
    assert len(history) == 6 and [step for step, _ in validated[:2]] == [3, 6]
    for step, weight in validated[:2]:
        torch.testing.assert_close(weight, expected[step - 1])
        assert not torch.equal(weight, history[step - 1])
    last = run.checkpoint("last")
    torch.testing.assert_close(last["state_dict"]["model.net.features.0.weight"], expected[-1])
    assert torch.equal(last["trained_state_dict"]["model.net.features.0.weight"], history[-1])


def test_without_checkpoints_the_average_is_what_is_measured(trained: Runner, plain: tuple[str, ...]) -> None:
    run = trained(*plain, "ema_decay=0.8", "callbacks=none", "trainer.max_epochs=1")
    assert run.metrics["val/loss"] == pytest.approx(run.metrics["last/val/loss"])


@pytest.mark.slow
def test_a_soup_is_kept_if_val_is_not_worse(trained: Runner, plain: tuple[str, ...]) -> None:
    run = trained(*plain, "soup=3", "trainer.max_epochs=3", "task.monitor=val/loss", "task.mode=min")
    name = "model.net.features.0.weight"
    best, last = run.checkpoint("best")["state_dict"][name], run.checkpoint("last")["state_dict"][name]
    assert "Soup of the 3 best epochs" in run.log and not (run.directory / "checkpoints" / "soup").exists()
    assert (": kept." in run.log and not torch.equal(best, last)) == (run.metrics["soup_epochs"] == 3)


@pytest.mark.slow
def test_a_bad_soup_is_not_kept(tmp_path: Path, trained: Runner, plain: tuple[str, ...]) -> None:
    def spoil(*_: object) -> None:
        for file in (tmp_path / "run" / "checkpoints" / "soup").glob("*.ckpt"):
            checkpoint = torch.load(file, weights_only=True)
            checkpoint["state_dict"] = {name: value * 0 for name, value in checkpoint["state_dict"].items()}
            torch.save({"state_dict": checkpoint["state_dict"], "finetune": {}}, file)

    with watched(on_train_end=spoil) as watching:
        run = trained(*plain, "soup=2", "trainer.max_epochs=3", *watching)
    assert run.metrics["soup_epochs"] == 0 and ": not kept." in run.log
    kept = run.checkpoint("best")["state_dict"]["model.net.features.0.weight"]
    assert kept.abs().max() > 0
    rows = run.csv("report/val_predictions.csv")
    assert sum(row["prediction"] == row["label"] for row in rows) / len(rows) == pytest.approx(run.metrics["val/acc"])


def test_average_of_checkpoints(tmp_path: Path) -> None:
    from src.training.averaging import average_of

    for i in range(3):
        state = {"w": torch.full((2,), float(i)), "n": torch.tensor(i)}
        torch.save({"state_dict": state, "finetune": {}}, tmp_path / f"{i}.ckpt")
    mixed = average_of([tmp_path / "2.ckpt", tmp_path / "0.ckpt", tmp_path / "1.ckpt"])
    assert torch.equal(mixed["w"], torch.ones(2)) and mixed["w"].dtype == torch.float32


# -------------------------------------------------------------------------------------------------------------- advice


def test_advice_goes_by_balance_and_size(colors: Path, tmp_path: Path) -> None:
    from src.build.advice import advise_recipe
    from src.build.data import build_datamodule

    def advice(root: Path, *settings: str) -> str:
        cfg = typed("data=csv" if "task=multilabel" in settings else "data=folder", f"data.root={root}", *settings)
        datamodule = build_datamodule(cfg)
        return advise_recipe(cfg, datamodule.table, datamodule.preprocessing.crop_px) or ""

    assert "recipe=auto first looks at some training images" in advice(colors)
    assert advice(colors, "data.image_size_px=64") == ""
    assert advice(colors, "head.start=pretrained") == ""
    assert advice(colors, "freeze=head_then_all") == "" == advice(colors, "backbone.weights=null")
    tags = tmp_path / "tags.csv"
    tags.write_text("path,label\n" + "".join(f"{p},{p.parent.name};image\n" for p in sorted(colors.rglob("*.png"))))
    assert advice(colors, "task=multilabel", f"data.file={tags}") == ""  # for which recipe=auto would be refused
    for color, count in (("red", 20), ("blue", 20), ("green", 2)):
        (tmp_path / color).mkdir()
        for file in sorted((colors / color).iterdir())[:count]:
            (tmp_path / color / file.name).symlink_to(file)
    lopsided = "the commonest class has 14 training images and the rarest 2. If all classes matter"
    assert lopsided in advice(tmp_path)
    for remedy in ("experiment=long_tail", "loss=logit_adjusted", "loss.class_weights=inverse"):
        assert lopsided not in advice(tmp_path, remedy)


@pytest.mark.slow
def test_advice_is_given_where_no_recipe_was_chosen(command, colors: Path, tmp_path: Path) -> None:
    typed = [
        "data=folder",
        f"data.root={colors}",
        "debug=fast_dev_run",
        "trainer.accelerator=cpu",
        "data.num_workers=0",
    ]
    assert "Advice: recipe=auto" in command("train", *typed, f"output_dir={tmp_path}/a").err
    answer = command("train", *typed, "experiment=full", f"output_dir={tmp_path}/b")
    assert answer.status == 0 and "Advice" not in answer.err
