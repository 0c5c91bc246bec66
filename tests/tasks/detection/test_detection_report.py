"""A small training of a detector, and what it leaves: metrics, calibration, tables, page, figures, comparison."""

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SCENES, Answer, Run, Runner
from support.box_evidence import evidence_of, table_of
from support.box_scenes import detections_of, truth_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.reports.run_report import RunReport
from src.settings.errors import ConfigError
from src.tasks.detection import report as part
from src.tasks.detection.answers import BoxAnswers, calibrated_layer


def test_metrics_and_what_the_checkpoint_carries(scenes_run: Run) -> None:
    metrics, found = scenes_run.metrics, scenes_run.checkpoint()["finetune"]["calibration"]
    names = ("ap", "ap50", "ap75", "ar", "loss", "dece", "dece_uncalibrated", "precision", "recall", "f1")
    assert all(f"{split}/{name}" in metrics for split in ("val", "test") for name in names)
    assert metrics["val/dece"] < metrics["val/dece_uncalibrated"] and metrics["val/f1"] > 0
    assert {f"threshold_{k}" for k in range(10)} < set(found)
    assert found["score_slope"] > 0 and all(0 <= found[f"threshold_{k}"] <= 1 for k in range(10))
    assert "At most 100 boxes are found in an image" in scenes_run.log


def test_tables_agree_with_each_other_and_with_the_metrics(scenes_run: Run) -> None:
    images, boxes = scenes_run.csv("report/test_images.csv"), scenes_run.csv("report/test_predictions.csv")
    answers = {row["path"]: int(row["found"]) + int(row["false_alarms"]) for row in images}
    assert answers == {path: sum(b["path"] == path and b["prediction"] != "" for b in boxes) for path in answers}
    assert all(int(row["true"]) == int(row["found"]) + int(row["missed"]) for row in images)
    classes = scenes_run.csv("report/test_classes.csv")
    assert [row["class"] for row in classes] == list("0123456789")
    for column, name in (("ap", "ap"), ("ap50", "ap50"), ("f1", "f1")):
        known = [float(row[column]) for row in classes if row[column]]
        assert sum(known) / len(known) == pytest.approx(scenes_run.metrics[f"test/{name}"], abs=1e-4)
    assert sum(int(row["boxes"]) for row in classes) == sum(int(row["true"]) for row in images)
    errors = {row["kind"]: int(row["answers"]) for row in scenes_run.csv("report/test_errors.csv")}
    assert sum(errors.values()) - errors["missed"] == sum(int(row["false_alarms"]) for row in images)


def test_the_page_and_the_card(scenes_run: Run) -> None:
    page = (scenes_run.directory / "report/index.html").read_text()
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings[2:9] == [
        "Average precision, precision and recall per class", "Precision-recall curves", "Kinds of errors",
        "Confusion matrix with background", "Misses and false alarms by size", "Worst images",
        "Calibration of the scores",
    ]  # fmt: skip
    intervals = json.loads((scenes_run.directory / "report/intervals.json").read_text())
    for name in ("ap", "ap50", "f1"):
        low, high = intervals[f"test/{name}"]
        assert low <= scenes_run.metrics[f"test/{name}"] <= high
    card = (scenes_run.directory / "report/model_card.md").read_text()
    assert "finds objects of 10 classes" in card and "D-ECE" in card and "data=coco" in card
    assert "ccuracy" not in card.partition("## Limits")[2]


def test_tensorboard_has_training_images_and_answers_over_epochs(scenes_run: Run) -> None:
    events = EventAccumulator(str(scenes_run.directory / "tensorboard"), {"images": 0})
    events.Reload()
    tags = events.Tags()["images"]
    assert {"train/images", "val/boxes", "val/confusion", "test/boxes", "report/worst_images"} <= set(tags)
    assert len(events.Images("val/boxes")) == 2  # after epochs 3 and 6


def test_evaluate_reports_with_the_thresholds_of_the_checkpoint(
    scenes_run: Run, tmp_path: Path, command: Callable[..., Answer]
) -> None:
    answer = command("evaluate", f"ckpt={scenes_run.directory}", f"report={tmp_path}/report", "accelerator=cpu")
    assert answer.status == 0, answer.err
    for name in ("f1", "dece"):
        measured = re.search(rf"^test/{name} +(\S+)$", answer.out, re.MULTILINE)
        value = float(measured[1]) if measured else None
        assert value == pytest.approx(scenes_run.metrics[f"test/{name}"], abs=1e-3)
    assert "Worst images" in (tmp_path / "report/index.html").read_text()


def test_runs_are_compared_image_by_image(scenes_run: Run, tmp_path: Path, command: Callable[..., Answer]) -> None:
    for name, answers in (("one", "{0},0,0,1"), ("other", "0,{0},3,0")):  # found, missed, false alarms, F1
        shutil.copytree(scenes_run.directory, tmp_path / name)
        file = tmp_path / name / "report/test_images.csv"
        header, first, *lines = file.read_text().splitlines()
        path, label, true, *_ = first.split(",")
        file.write_text("\n".join([header, f"{path},{label},{true},{answers.format(true)}", *lines]) + "\n")
    runs = f"runs=[{tmp_path}/one,{tmp_path}/other]"
    answer = command("compare", runs, f"output={tmp_path}/page.html")
    assert answer.status == 0, answer.err
    assert "1 - F1 of an image" in answer.out or "0 turned right, 1 wrong" in answer.out
    page = (tmp_path / "page.html").read_text()
    assert f"before: found {true} of {true}, false alarms 0<br>now: found 0 of {true}, false alarms 3" in page
    assert page.count('<div class="pair"><img') == 1
    file.write_text(file.read_text().replace(",3,0\n", ",3,7\n"))
    answer = command("compare", runs, f"output={tmp_path}/again.html")
    assert answer.status == 1 and "test_images.csv" in answer.err and "row 1" in answer.err


def test_a_monitor_that_val_cannot_measure_ends_in_one_message_before_training(trained: Runner) -> None:
    with pytest.raises(ConfigError, match=r"task.monitor='val/ap_large' cannot be measured: none of the 7 images of"):
        trained(*SCENES, "task.monitor=val/ap_large")


@pytest.mark.parametrize(
    ("detections", "truth"),
    [([[]], [[]]), ([[(0, 0, 9, 9, 0.9, 0)]], [[]]), ([[]], [[(0, 0, 9, 9, 1)]]), ([[]], [[(0, 0, 9, 9, 1, 1)]])],
)
def test_every_section_takes_nothing_to_find_and_nothing_found(detections: list, truth: list) -> None:
    evidence = evidence_of(detections_of(detections, most=2), truth_of(truth), ["cat", "dog"], "test")
    task = Answering()
    report = RunReport("run", table_of(evidence), {}, {}, {}, [evidence], 0)
    assert part.intervals(task, evidence) == {}
    tables = part.tables(task, report.table, evidence)
    assert len(tables["classes"][1]) == 2 and len(tables["errors"][1]) == 6
    assert not re.search(r"\bnan\b", re.sub('src="[^"]*"', "", "".join(part.sections(report, task))))
    assert all(math.isfinite(one) for one in BoxAnswers.of(evidence, task.output_layer()).thresholds_K)


class Answering:
    """As much of a task as a report asks."""

    class_names = ("cat", "dog")

    def output_layer(self):
        return calibrated_layer(list(self.class_names), {})
