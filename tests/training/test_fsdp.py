"""trainer=fsdp, two processes on the CPU: the weights of DDP, the files of any other run, and what it refuses."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Answer, Run
from lightning import LightningModule, Trainer
from support.processes import run_two
from support.slow import one_in
from support.watching import TRUSTED, Stop, watched

from src.settings.errors import ConfigError

PLANS = {
    "none": ["optimizer=sgd", "soup=2", "head.start=pretrained"],
    "head_only": ["freeze=head_only"],
    "head_then_all": ["freeze=head_then_all", "freeze.phases.0.epochs=1", "param_groups.layer_decay=0.7"],
    "clipped": ["optimizer=sgd", "trainer.gradient_clip_val=0.1", "trainer.accumulate_grad_batches=2"],
    "batchnorm": ["backbone=resnet18", "backbone.weights=null", "optimizer=sgd", "data.image_size_px=64"],
    "resumed": [
        "freeze=head_then_all", "freeze.phases.0.epochs=1", "trainer.max_epochs=3", "checkpoint_every_n_steps=2",
    ],
    "stateless": ["optimizer=sgd", "optimizer.momentum=0", "checkpoint_every_n_steps=2", "trainer.max_epochs=3"],
    "damaged": ["optimizer=sgd", "data.batch_size=1", "trainer.max_epochs=1"],
}  # fmt: skip
TOLERANCE = {"damaged": 1e-4}  # else 1e-5: gradients may be summed in another order than by DDP


def rank_of_two(rank: int, port: int, folder: str, common: list[str]) -> None:
    """Every plan with both strategies; writes the whole weights after each phase."""
    torch.set_num_threads(1)
    from conftest import run_train

    from src.cli import command as cli
    from src.data import dataset
    from src.settings.schema import register

    register()
    cli.register_resolvers()
    states: list[dict[str, torch.Tensor]] = []

    def on_train_end(trainer: Trainer, task: LightningModule) -> None:
        whole = trainer.strategy.lightning_module_state_dict()
        states.append({name: value.clone() for name, value in whole.items() if name.startswith("model.")})
        if task.is_sharded:
            parameters = list(task.model.parameters())
            parts.append([sum(p.to_local().numel() for p in parameters), sum(p.numel() for p in parameters)])

    def train(name: str, *settings: str, **doing: Any) -> None:
        os.environ.update(LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        with watched(on_train_end=on_train_end, **doing) as watching:
            run_train(Path(folder) / name, *common, *settings, *watching)

    def stop(trainer: Trainer, _: LightningModule, batch: Any, i: int) -> None:
        if (trainer.current_epoch, i) == (2, 3):  # one step after the checkpoint
            raise Stop

    parts: list[list[int]] = []
    for plan, settings in PLANS.items():
        for strategy in ("ddp", "fsdp"):
            states.clear()
            chosen = [*settings, f"trainer.strategy={strategy}"]
            if plan == "damaged":
                chosen.append(f"data.root={folder}/damaged")
                dataset.MAX_SUBSTITUTES = 1
            if plan in ("resumed", "stateless") and strategy == "fsdp":
                with pytest.raises(Stop):
                    train(f"{plan}_{strategy}", *chosen, on_train_batch_start=stop)
                states.clear()
                chosen += [f"resume={folder}/{plan}_{strategy}", TRUSTED]
            train(f"{plan}_{strategy}", *chosen)
            if rank == 0:
                torch.save(states, Path(folder, f"{plan}_{strategy}.pt"))
    Path(folder, f"parts_{rank}.json").write_text(json.dumps(parts))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, colors: Path) -> Path:
    """A folder with two runs for each plan, by DDP and sharded."""
    folder = tmp_path_factory.mktemp("fsdp")
    common = [
        *("trainer.devices=2", "data=folder", f"data.root={colors}", "data.image_size_px=32", "data.val_fraction=0.25"),
        *("data.batch_size=4", "trainer.max_epochs=2", f"data.cache_dir={folder}/cache"),
    ]
    shutil.copytree(colors, folder / "damaged")
    for image in sorted((folder / "damaged").rglob("*.*"))[::6]:
        image.write_bytes(b"")
    assert run_two(rank_of_two, folder, common) == [0, 0]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("plan", PLANS)
def test_weights_are_those_of_ddp_after_each_phase(two: Path, plan: str) -> None:
    wanted, sharded = (torch.load(two / f"{plan}_{strategy}.pt") for strategy in ("ddp", "fsdp"))
    if plan == "resumed":
        wanted = wanted[1:]  # the first phase had ended
    assert len(sharded) == len(wanted) == (2 if plan == "head_then_all" else 1)
    for one, other in zip(wanted, sharded, strict=True):
        assert list(one) == list(other)
        for name, value in one.items():
            torch.testing.assert_close(other[name], value, rtol=0, atol=TOLERANCE.get(plan, 1e-5), msg=name)


@pytest.mark.slow
def test_frozen_weights_are_the_pretrained_ones(two: Path) -> None:
    from src.models.weights import build_backbone, find_weights

    file = "src/assets/squeezenet1_1_imagenet.safetensors"
    pretrained = build_backbone("squeezenet1_1", find_weights("squeezenet1_1", file), 32).state_dict()
    for plan in ("head_only", "head_then_all"):
        after_first = torch.load(two / f"{plan}_fsdp.pt")[0]
        names = [name for name in pretrained if name.startswith("features.")]
        assert len(names) == 50
        assert all(torch.equal(after_first[f"model.net.{name}"], pretrained[name]) for name in names)
    after_second = torch.load(two / "head_then_all_fsdp.pt")[1]
    assert not any(torch.equal(after_second[f"model.net.{name}"], pretrained[name]) for name in names)


@pytest.mark.slow
def test_each_process_holds_a_part(two: Path) -> None:
    first, second = (json.loads((two / f"parts_{rank}.json").read_text()) for rank in range(2))
    for (own, whole), (others, _) in zip(first, second, strict=True):
        assert own + others == whole and 0.45 * whole < own < 0.55 * whole


@pytest.mark.slow
@pytest.mark.parametrize("plan", PLANS)
def test_files_and_metrics_are_those_of_one_process(two: Path, plan: str, command) -> None:
    run = Run(two / f"{plan}_fsdp", None)
    assert run.checkpoint()["finetune"]["processes"] == 2
    assert sorted(path.name for path in (run.directory / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert run.log.count("Everything is in") == 1
    for split in ("val", "test"):
        output = two / f"{plan}.json"
        answer: Answer = command("evaluate", f"ckpt={run.directory}", f"split={split}", f"output={output}")
        assert answer.status == 0, answer.err
        for name, value in json.loads(output.read_text()).items():
            if name.startswith(f"{split}/"):
                assert run.metrics[name] == pytest.approx(value, abs=1e-5), name
        rows, images = run.csv(f"report/{split}_predictions.csv"), run.csv("split.csv")
        if plan == "damaged":
            assert 0 < len(rows) < sum(p["split"] == split for p in images)
            continue
        assert sorted(row["path"] for row in rows) == sorted(p["path"] for p in images if p["split"] == split)


@pytest.mark.slow
def test_the_optimizer_states_are_those_of_ddp(two: Path) -> None:
    one, other = (
        Run(two / f"head_then_all_{s}", None).checkpoint("last")["optimizer_states"][0] for s in ("ddp", "fsdp")
    )
    assert [g["params"] for g in one["param_groups"]] == [g["params"] for g in other["param_groups"]]
    assert list(one["state"]) == list(other["state"])
    for number, state in one["state"].items():
        assert {key: value.shape for key, value in state.items()} == {
            key: value.shape for key, value in other["state"][number].items()
        }
        assert state["step"] == other["state"][number]["step"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    one_in(
        4,
        [
            (
                ["trainer.devices=1"],
                "trainer.strategy=fsdp shards the weights over several processes, and this run has one",
            ),
            (["ema_decay=0.9"], "ema_decay=0.9 averages whole weights"),
            (["on_nonfinite_loss=skip"], "on_nonfinite_loss=skip is not possible with trainer.strategy=fsdp"),
            (["compile=true"], "compile=true is not possible with trainer.strategy=fsdp"),
            (["data.cache=features"], "data.cache=features lets one process compute for all"),
            (["data.cache_views=4"], "data.cache_views=4 lets one process compute for all"),
            (["+trainer.sync_batchnorm=true"], "trainer.sync_batchnorm=true has no effect"),
            (["trainer.precision=16-mixed"], "Allowed: auto, 32-true, 32, bf16-mixed."),
        ],
    ),
)
def test_what_does_not_go_with_it(command, arguments: list[str], text: str, tmp_path: Path) -> None:
    answer: Answer = command("train", "trainer=fsdp", "trainer.devices=2", *arguments, f"hydra.run.dir={tmp_path}/run")
    assert answer.status == 1 and text in answer.err and len(answer.err.splitlines()) == 1
    assert "Importing torch" not in answer.err and not (tmp_path / "run").exists()


def test_a_single_process_is_refused(trained) -> None:
    with pytest.raises(ConfigError, match="and this run has one: raise"):
        trained("trainer=fsdp", "trainer.accelerator=cpu")
