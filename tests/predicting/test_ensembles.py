"""Several checkpoints that answer as one, and several views of an image."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Answer, Run, Runner
from PIL import Image
from support.members import changed_checkpoint

from src.build.ensemble import open_model
from src.build.ensemble_calibration import outputs_of_val
from src.build.members import require_agreement
from src.build.trained_model import TrainedModel
from src.cli.command_line import prepare
from src.data.transforms import evaluation_transform
from src.evaluation.calibration import fit_temperature
from src.models.views import Smaller
from src.serving.models import load_model
from src.settings.checkpoints import find_checkpoints
from src.settings.errors import ConfigError
from src.tasks.classification.combination import ClassificationCombination
from src.tasks.classification.export import ClassificationOutputs
from src.tasks.multilabel.combination import MultilabelCombination
from src.tasks.multilabel.export import MultilabelOutputs
from src.tasks.regression.combination import RegressionCombination
from src.tasks.regression.export import RegressionOutputs
from src.tasks.segmentation.combination import SegmentationCombination
from src.tasks.segmentation.export import SegmentationOutputs
from src.training.combination import Combination

COLORS = ["blue", "green", "red"]


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def shares_of(rows: list[dict[str, str]]) -> Any:
    return np.array([[float(row[f"prob:{name}"]) for name in COLORS] for row in rows])


@pytest.fixture(scope="module")
def members(colors_run: Run, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Loose files, of which the second has its classes in another order."""
    best, folder = colors_run.directory / "checkpoints" / "best.ckpt", tmp_path_factory.mktemp("members")
    return [
        changed_checkpoint(best, folder / f"{seed}.ckpt", seed, order) for seed, order in enumerate([None, [2, 0, 1]])
    ]


@pytest.fixture(scope="module")
def opened(members: list[Path]) -> list[TrainedModel]:
    return [TrainedModel.open(str(file)) for file in members]


def test_the_answer_is_the_mean_in_any_order(colors: Path, members: list[Path], tmp_path: Path, command: Any) -> None:
    """Of calibrated probabilities, by the names of the classes, since loose files say nothing about val."""

    def predicted(*files: Path) -> tuple[Any, str]:
        listed, output = ",".join(map(str, files)), tmp_path / "p.csv"
        answer: Answer = command(
            "predict", f"ckpt=[{listed}]", f"images={colors}/red/*.png", f"output={output}", "accelerator=cpu"
        )
        assert answer.status == 0, answer.err
        return shares_of(rows_of(output)), answer.err

    alone = [predicted(file)[0] for file in members]
    together, log = predicted(*members)
    assert np.abs(alone[0] - alone[1]).max() > 1e-3  # they differ
    assert together == pytest.approx(np.mean(alone, axis=0), abs=2e-6)
    assert predicted(*members[::-1])[0] == pytest.approx(together, abs=2e-6)
    assert "their calibrated probabilities are averaged" in log and "mean of 2 checkpoints (" in log


def layers_of(task: str) -> tuple[type[Combination], list[Any], Any]:
    """The second network's temperature or labels differ."""
    names = ["a", "b", "c"]
    if task == "regression":
        layers = [RegressionOutputs(names, torch.tensor([1.0, 2, 3]) * m, torch.ones(3) / m) for m in (1, 2)]
        return RegressionCombination, layers, lambda layer, one: layer(one)["values"]
    kinds: dict[str, Any] = {
        "classification": (ClassificationCombination, ClassificationOutputs, ()),
        "multilabel": (MultilabelCombination, MultilabelOutputs, (torch.full((3,), 0.4),)),
        "segmentation": (SegmentationCombination, SegmentationOutputs, ()),
    }
    combination, kind, more = kinds[task]
    shares = (lambda z: torch.sigmoid(z)) if task == "multilabel" else (lambda z: torch.softmax(z, dim=1))
    return combination, [kind(names, t, *more) for t in (1.0, 2.0)], lambda layer, z: shares(z / layer.temperature)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression", "segmentation"])
def test_the_outputs_together_are_those_of_the_mean(task: str) -> None:
    combination, layers, answer = layers_of(task)
    outputs = 3 * torch.randn(2, 5, 3, *((4, 6) if task == "segmentation" else ()), generator=torch.manual_seed(0))
    order = [1, 2, 0]
    found = answer(layers[0], combination(layers, [None, order])(list(outputs)))
    expected = (answer(layers[0], outputs[0]) + answer(layers[1], outputs[1])[:, order]) / 2
    torch.testing.assert_close(found, expected)
    if task == "classification":
        energies = [layer(one)["ood_score"] for layer, one in zip(layers, outputs, strict=True)]
        both = combination(layers, [None, order])(list(outputs))
        torch.testing.assert_close(layers[0](both)["ood_score"], sum(energies) / 2)


def with_runs(colors_run: Run, folder: Path, parts: int) -> list[TrainedModel]:
    """Two run directories: of one val split (`parts` = 1), or of folds with a half of it each."""
    rows, models = rows_of(colors_run.directory / "report" / "val_predictions.csv"), []
    for m in range(2):
        facts = colors_run.checkpoint()["finetune"]
        some = rows if parts == 1 else rows[m::2]
        data = facts["config"]["data"] | ({} if parts == 1 else {"folds": 2, "fold": m})
        record = {"config": facts["config"] | {"data": data}, "calibration": facts["calibration"]}
        record["calibration"] |= {"images": len(some)}
        record["data_fingerprint"] = str(m % parts)
        best = colors_run.directory / "checkpoints" / "best.ckpt"
        file = changed_checkpoint(best, folder / str(m) / "checkpoints" / "best.ckpt", m, **record)
        (folder / str(m) / "report").mkdir()
        with (folder / str(m) / "report" / "val_predictions.csv").open("w", newline="") as lines:
            writer = csv.DictWriter(lines, list(some[0]))
            writer.writeheader()
            writer.writerows(some)
        models.append(TrainedModel.open(str(file)))
    return models


@pytest.mark.parametrize(("parts", "words"), [(1, "of the val split that all have"), (2, "one of the folds")])
def test_the_temperature_is_fitted_anew(colors_run: Run, tmp_path: Path, parts: int, words: str) -> None:
    """Of one val split that of the mean of all; of folds that of each, by what they say of their parts."""
    models = with_runs(colors_run, tmp_path, parts)
    rows = rows_of(colors_run.directory / "report" / "val_predictions.csv")
    logits_NK = np.log(np.clip(shares_of(rows), 1e-7, 1)) * models[0].record.temperature
    labels_N = np.array([COLORS.index(row["label"]) for row in rows])
    found, expected = outputs_of_val(models), fit_temperature(logits_NK, labels_N, True)
    assert found is not None and words in found.images and len(found.evidence) == len(rows)
    together = open_model([str(tmp_path / "0"), str(tmp_path / "1")])
    of_members = [layer.temperature for layer in together.task.model.combine.layers]
    assert of_members == pytest.approx([1.0 if parts == 1 else expected] * 2, rel=1e-3)
    if parts == 1:
        assert together.task.output_layer().temperature == pytest.approx(expected, rel=1e-3)
    (tmp_path / "1" / "report" / "val_predictions.csv").unlink()
    assert outputs_of_val(models) is None


def test_members_have_to_agree(opened: list[TrainedModel], members: list[Path]) -> None:
    first, other = opened

    def told(text: str, **changes: Any) -> None:
        model = TrainedModel(other.file, other.record.__class__(**{**vars(other.record), **changes}), other.task,
                             other.device)  # fmt: skip
        with pytest.raises(ConfigError, match=text):
            require_agreement([first, model])

    told("only one of them knows pink, red", class_names=["blue", "green", "pink"])
    told("crop_px 32 and 48", preprocessing=other.preprocessing.with_size(48, None))
    told("the other task.name=regression", config={**other.record.config, "task": {"name": "regression"}})
    with pytest.raises(ConfigError, match="is named twice"):
        open_model([str(members[0]), str(members[0])])


def test_the_service_takes_them_too(members: list[Path]) -> None:
    files = [str(file) for file in members]
    image = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    served, together = load_model(files, None, "cpu"), open_model(files)
    with torch.inference_mode():
        outputs = together.task.output_layer()(together.task(torch.from_numpy(image)[None]))
    found = served.compute([image], [(32, 32)])["probabilities"]
    assert found == pytest.approx(outputs["probabilities"].numpy(), abs=1e-6)
    assert served.facts.backbone == "2 x squeezenet1_1"


def test_a_sweeps_folder_stands_for_its_jobs(tmp_path: Path, command: Any) -> None:
    for number in (10, 9, 0):
        job = tmp_path / f"{number}_seed={number}"
        (job / "checkpoints").mkdir(parents=True)
        (job / "job.json").write_text(json.dumps({"number": number, "ended": True}))
        (job / "checkpoints" / "best.ckpt").touch()
    found = [file.parent.parent.name for file in find_checkpoints(str(tmp_path))]
    assert found == ["0_seed=0", "9_seed=9", "10_seed=10"]
    (tmp_path / "9_seed=9" / "error.txt").write_text("lost")
    with pytest.raises(ConfigError, match="1 of its 3 jobs have not ended with a checkpoint: 9_seed=9"):
        find_checkpoints(str(tmp_path))
    with pytest.raises(ConfigError, match="is no list of runs"):
        find_checkpoints([])
    answer: Answer = command("explain", f"ckpt={tmp_path}", "images=x")
    assert answer.status == 1 and "No checkpoint at" in answer.err  # of one alone


def test_lists_of_paths_are_taken_as_they_are() -> None:
    settings, _ = prepare(["ckpt=[runs/a b=1,007,~/c]", "images=x"], "predict")
    assert settings[0] == f'ckpt=["runs/a b=1","007","{Path("~/c").expanduser()}"]'


def test_mirrored_views(members: list[Path], colors: Path) -> None:
    """A mirrored image has the answer of the image, which is the mean of what is said of either."""
    alone, both = open_model(str(members[0])), open_model(str(members[0]), tta="mirror")
    transform = evaluation_transform(alone.preprocessing)
    seen_CHW = transform(Image.open(next((colors / "red").glob("*.png"))).convert("RGB"))
    symmetric_CHW = torch.maximum(seen_CHW, seen_CHW.flip(-1))
    images = torch.stack([seen_CHW, seen_CHW.flip(-1), symmetric_CHW])
    with torch.inference_mode():
        plain, mirrored = (torch.softmax(model.task(images), dim=1) for model in (alone, both))
    assert (plain[0] - plain[1]).abs().max() > 1e-4
    torch.testing.assert_close(mirrored[0], plain[:2].mean(dim=0))
    torch.testing.assert_close(mirrored[1], mirrored[0])
    torch.testing.assert_close(mirrored[2], plain[2])
    assert both.record.temperature == alone.record.temperature


def test_mirroring_is_refused_where_it_changes_what_is_shown(colors_run: Run, tmp_path: Path, command: Any) -> None:
    config = colors_run.checkpoint()["finetune"]["config"]
    config["data"]["mirror_safe"] = False
    best = colors_run.directory / "checkpoints" / "best.ckpt"
    file = changed_checkpoint(best, tmp_path / "m.ckpt", 0, config=config)
    answer: Answer = command("evaluate", f"ckpt={file}", "tta=mirror", "accelerator=cpu")
    assert answer.status == 1 and "was trained with data.mirror_safe=false" in answer.err


def test_smaller_views_are_resized_as_by_torch() -> None:
    images = torch.rand(2, 3, 40, 40, generator=torch.manual_seed(0))
    expected = torch.nn.functional.interpolate(images, size=(32, 32), mode="bilinear", antialias=True)
    torch.testing.assert_close(Smaller(40, 32)(images), expected, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_evaluate_says_that_members_were_trained_on_these_images(
    colors: Path, tmp_path: Path, trained: Runner, command: Any
) -> None:
    """Folds: what is val for one is trained on by the other; test is cut alike."""
    for fold in range(2):
        run = trained("data=folder", f"data.root={colors}", "data.image_size_px=32", "data.folds=2",
                      f"data.fold={fold}", "data.test_fraction=0.2", "trainer.max_epochs=1")  # fmt: skip
        shutil.move(run.directory, tmp_path / str(fold))
    ckpt = f"ckpt=[{tmp_path}/0,{tmp_path}/1]"
    answer: Answer = command("evaluate", ckpt, "accelerator=cpu", "report=" + str(tmp_path / "page"))
    assert answer.status == 0 and "on test: 12 images" in answer.err, answer.err
    assert "fitted anew on 48 images that one of the folds was not trained on" in answer.err
    assert "were trained on" not in answer.err and (tmp_path / "page" / "index.html").is_file()
    answer = command("evaluate", ckpt, "split=val", "accelerator=cpu")
    assert "24 of these 24 images were trained on by one of the checkpoints" in answer.err


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_one_file_of_several_answers_alike(
    colors_run: Run, members: list[Path], tmp_path: Path, command: Any, format: str
) -> None:
    """With mirrored and larger views in its graph, and classes in different orders."""
    output = tmp_path / f"model.{'onnx' if format == 'onnx' else 'pt2'}"
    answer: Answer = command(
        "export", f"ckpt=[{members[0]},{members[1]}]", f"format={format}", f"output={output}", "tta=mirror_scales"
    )
    assert answer.status == 0 and "answers as the checkpoint's" in answer.err, answer.err
    facts = json.loads(output.with_suffix(".json").read_text())
    assert facts["backbone"] == "2 x squeezenet1_1" and facts["preprocessing"]["crop_px"] == 40


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "columns"), [("multilabel", ["prob:dark", "prob:red"]), ("regression", ["predicted:label"])]
)
def test_several_classes_and_numbers(
    colors: Path, tmp_path: Path, trained: Runner, command: Any, task: str, columns: list[str]
) -> None:
    """Loose files answer by the mean of what they say; run directories choose thresholds and temperature anew."""
    images = sorted(colors.rglob("*.*"))
    labels = [";".join({"red": ["red"], "blue": ["dark"]}.get(image.parent.name, ["dark", "red"])) for image in images]
    if task == "regression":
        labels = [str(len(image.parent.name) + n % 3) for n, image in enumerate(images)]
    table = tmp_path / "table.csv"
    table.write_text("path,label\n" + "".join(f"{a},{b}\n" for a, b in zip(images, labels, strict=True)))
    for seed in range(2):
        run = trained(f"task={task}", "data=csv", f"data.file={table}", "data.image_size_px=32", f"seed={seed}",
                      "trainer.max_epochs=1")  # fmt: skip
        shutil.move(run.directory, tmp_path / str(seed))
        shutil.copy(tmp_path / str(seed) / "checkpoints" / "best.ckpt", tmp_path / f"{seed}.ckpt")

    def predicted(ckpt: str) -> Any:
        output = tmp_path / "p.csv"
        answer: Answer = command("predict", f"ckpt={ckpt}", f"images={table}", f"output={output}", "accelerator=cpu")
        assert answer.status == 0, answer.err
        return np.array([[float(row[name]) for name in columns] for row in rows_of(output)])

    alone = [predicted(f"{tmp_path}/{seed}.ckpt") for seed in range(2)]
    assert predicted(f"[{tmp_path}/0.ckpt,{tmp_path}/1.ckpt]") == pytest.approx(np.mean(alone, axis=0), rel=1e-4)
    answer: Answer = command("evaluate", f"ckpt=[{tmp_path}/0,{tmp_path}/1]", "accelerator=cpu")
    assert answer.status == 0 and ("fitted anew" in answer.err) == (task == "multilabel"), answer.err
