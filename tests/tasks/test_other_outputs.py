"""A task whose network does not give a row of outputs per image trains, is measured and opened like any other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from conftest import compose
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric

from src.build.data import build_datamodule
from src.build.task import build_task, load_task
from src.build.trainer import build_trainer
from src.data.dataset import Batch
from src.evaluation.evidence import Evidence
from src.models.adapted import AdaptedNetwork
from src.models.heads import HeadFactory
from src.runs.checkpoint import load_checkpoint
from src.runs.opening import open_run
from src.runs.record import RunRecord
from src.tasks.classification.export import ClassificationOutputs
from src.tasks.classification.prediction import ClassificationPrediction
from src.training.fit import fit_phases
from src.training.measure import measure_best
from src.training.scores_task import ScoresTask
from src.training.task import FineTuneTask


class PlacesNetwork(AdaptedNetwork):
    """Scores of the classes at each place of SqueezeNet's last maps, [B, K, h, w]."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        scores_BKhw: Tensor = self.net(self.normalise(images_BCHW))
        return scores_BKhw


class PlacesTask(FineTuneTask):
    """Each place is to say the image's class; no loss of the settings, no row of outputs per image."""

    prediction = ClassificationPrediction

    @classmethod
    def adapt(cls, net: nn.Module, record: RunRecord, head: HeadFactory, channels_last: bool) -> PlacesNetwork:
        assert isinstance(net.features, nn.Module)
        places = nn.Sequential()
        places.add_module("features", net.features)
        places.add_module("head", head(512, len(record.class_names), True))
        return PlacesNetwork(places, ["head"], record.preprocessing, channels_last)

    def configure_metrics(self) -> None:
        self.val_acc, self.test_acc = MeanMetric(), MeanMetric()

    @property
    def metric_names(self) -> list[str]:
        return ["val/acc"]

    def outputs(self, batch: Batch) -> Tensor:
        outputs_BKhw: Tensor = self(batch["image"])
        return outputs_BKhw

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        outputs_BKhw = self.outputs(batch)
        targets_Bhw = batch["label"][:, None, None].expand(-1, *outputs_BKhw.shape[2:])
        return {"loss": F.cross_entropy(outputs_BKhw, targets_Bhw)}

    def keep(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """How many places say each class, [B, K]."""
        said_BhwK = F.one_hot(outputs.argmax(dim=1), outputs.shape[1])
        return {"counts": said_BhwK.sum(dim=(1, 2)).float()}

    def count(self, split: str, outputs: Tensor, batch: Batch, finite_B: Tensor) -> None:
        right_Bhw = outputs.argmax(dim=1) == batch["label"][:, None, None]
        getattr(self, f"{split}_acc").update(right_Bhw[finite_B].float())

    def measured(self, split: str) -> dict[str, Tensor]:
        acc = getattr(self, f"{split}_acc")
        values = {f"{split}/acc": acc.compute()}
        acc.reset()
        return values

    def output_layer(self) -> ClassificationOutputs:
        return ClassificationOutputs(self.class_names, 1.0)

    def predictions_of(self, evidence: Evidence) -> Iterator[Any]:
        yield from self.predictions(torch.from_numpy(evidence.arrays["counts"]))


def test_a_task_of_places_trains_is_measured_and_opened(tmp_path: Path) -> None:
    assert not issubclass(PlacesTask, ScoresTask)
    settings = [
        "data.num_workers=0",
        "data.image_size_px=64",
        "trainer=cpu",
        "trainer.max_epochs=1",
        "freeze=head_only",
    ]
    run = open_run(compose(*settings, "freeze=head_only", "~loss", f"output_dir={tmp_path}/run"))
    data = build_datamodule(run.settings)
    task, trainer = build_task(PlacesTask, run, data), build_trainer(run)
    run.write_facts(data, task.record)
    task.start_clock(0)
    fit_phases(run, task, data, trainer)
    measured = measure_best(task, data, trainer, test=True)
    assert {"val/acc", "test/acc"} <= set(measured.metrics) and measured.calibration == {}
    assert [evidence.split for evidence in measured.splits] == ["val", "test"]
    assert len(list(task.predictions_of(measured.splits[0]))) == len(measured.splits[0])

    file = tmp_path / "run" / "checkpoints" / "best.ckpt"
    checkpoint, record = load_checkpoint(file)
    opened = load_task(PlacesTask, checkpoint["state_dict"], record, with_loss=True)
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    assert torch.equal(opened(image), task.eval()(image))
