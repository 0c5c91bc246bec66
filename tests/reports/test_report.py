"""The report page, what it is computed from, and src.compare."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from conftest import Run, Runner, paint, run_train
from PIL import Image

from src.data.table import ImageTable
from src.evaluation import calibration, intervals
from src.evaluation.confusion import ConfusionCounts, count_confusions
from src.evaluation.evidence import Evidence
from src.reports.parts import in_commonest_colors
from src.reports.run_report import RunReport
from src.tasks.classification.metrics import ClassificationMetrics
from src.tasks.classification.report import confusion_section
from src.tasks.classification.report import intervals as class_intervals
from src.tasks.regression.export import RegressionOutputs
from src.tasks.regression.metrics import RegressionMetrics
from src.tasks.regression.report import intervals as number_intervals

CALIBRATED = SimpleNamespace(temperature=1.0, one_class=True)  # all that is asked of a task for its intervals
HOSTILE = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Texts, tags with their attributes, and the texts of scripts."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.scripts, self.within = "", "", ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.within = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self.within = ""

    def handle_data(self, data: str) -> None:
        if self.within == "script":
            self.scripts += data
        elif not self.within:
            self.text += data

    def images(self, kind: str) -> list[str]:
        return [
            str(a.get("src"))
            for tag, a in self.tags
            if tag == "img" and (a.get("class") == "chart") == (kind == "chart")
        ]


@pytest.fixture(scope="session")
def page(colors_run: Run) -> Page:
    return Page(colors_run.directory / "report" / "index.html")


def test_the_page_loads_nothing_and_holds_everything(page: Page, colors_run: Run) -> None:
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:image/").startswith("data:image/"), (tag, attributes)
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv"))
    assert policy is not None and "default-src 'none'" in policy and "unsafe-inline'; script" in policy
    wanted = "Metrics|Learning c|Confusion mat|Precision, rec|Worst|Calibration|Abstaining|Out-of-d|Speed|Commands|Sett"
    headings = re.findall(wanted, page.text)
    assert len(dict.fromkeys(headings)) == 11
    assert f"{colors_run.metrics['test/acc']:.4f}" in page.text and "42 train, 9 val, 9 test" in page.text
    assert f"python -m src.evaluate ckpt={colors_run.directory}" in page.text
    assert len(page.images("chart")) == 3 and len(page.images("thumbnail")) >= 9


def test_the_same_figures_are_in_tensorboard(colors_run: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(colors_run.directory / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    wanted = {"report/learning_curves", "report/confusion", "report/reliability", "report/coverage"}
    assert wanted <= set(events.Tags()["images"])
    folder = next((colors_run.directory / "tensorboard").glob("*/val"))
    lines = (folder / "metadata.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["label", "prediction", "path"] and len(lines) == 1 + 9
    assert len((folder / "tensors.tsv").read_text().splitlines()) == 9 and (folder / "sprite.png").stat().st_size > 500


def test_names_from_the_data_are_shown_and_not_run(tmp_path: Path, trained: Runner) -> None:
    """A class and a file that look like HTML."""
    rows = []
    for seed, color in enumerate(("red", "blue")):
        paint(tmp_path / color, color, count=12, seed=seed)
        for file in sorted((tmp_path / color).iterdir()):
            named = file.rename(file.with_name(f"<img src=x onerror=alert(1)>&{file.name}"))
            rows.append({"path": str(named.relative_to(tmp_path)), "label": HOSTILE if color == "red" else 'b"&amp;'})
    with (tmp_path / "t.csv").open("w", newline="") as lines:
        writer = csv.DictWriter(lines, ["path", "label"])
        writer.writeheader()
        writer.writerows(rows)
    run = trained("data=csv", f"data.file={tmp_path}/t.csv", "data.image_size_px=32", "trainer.max_epochs=1")
    page = Page(run.directory / "report" / "index.html")
    assert HOSTILE in page.text and 'b"&amp;' in page.text and "<img src=x onerror=alert(1)>&" in page.text
    assert "alert" not in page.scripts and sum(tag == "script" for tag, _ in page.tags) == 1
    assert not any("onerror" in attributes for _, attributes in page.tags)


@pytest.mark.parametrize("kind", ["multilabel", "regression"])
def test_other_tasks_have_their_own_sections(kind: str, colors: Path, tmp_path: Path, trained: Runner) -> None:
    rows = []
    for file in sorted(colors.glob("*/*")):
        n = int(file.stem)
        label: dict[str, Any] = {"label": ";".join([file.parent.name] + ["odd"] * (n % 2))}
        rows.append({"path": str(file), **(label if kind == "multilabel" else {"age": n / 10})})
    with (tmp_path / "t.csv").open("w", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    columns = [] if kind == "multilabel" else ["data.label_columns=[age]"]
    run = trained(f"task={kind}", f"data.file={tmp_path}/t.csv", "data.image_size_px=32", *columns)
    text = Page(run.directory / "report" / "index.html").text
    if kind == "multilabel":
        assert "average precision" in text and "Precision-recall curves" in text and "too many or too few" in text
        assert run.metrics["test/ece"] >= 0
    else:
        assert "95 % below" in text and "The largest errors" in text and "temperature" not in run.metrics
    intervals = json.loads((run.directory / "report" / "intervals.json").read_text())
    name = "test/map" if kind == "multilabel" else "test/mae"
    assert intervals[name][0] <= run.metrics[name] <= intervals[name][1]


def test_evaluate_writes_a_page_when_asked(colors_run: Run, command, tmp_path: Path) -> None:
    answer = command(
        "evaluate", f"ckpt={colors_run.directory}", "split=val", f"report={tmp_path}/r e", "accelerator=cpu"
    )
    assert answer.status == 0, answer.err
    page = Page(tmp_path / "r e" / "index.html")
    assert "The best epoch was chosen by val" in page.text and "There is no test split" not in page.text
    assert f"{colors_run.metrics['val/acc']:.4f}" in page.text


def test_epochs_csv_goes_on_where_a_resumed_run_does(colors_run: Run) -> None:
    rows = colors_run.csv("epochs.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"] and [row["phase"] for row in rows] == list("1122")
    assert float(rows[-1]["val/acc"]) == pytest.approx(colors_run.metrics["last/val/acc"], abs=1e-5)


# ------------------------------------------------------------------------------------------------------- what it counts


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for trial in range(60):
        right_N = generator.random(80) < 0.8
        found = intervals.bootstrap(lambda w_N, r_N=right_N: {"acc": float(w_N @ r_N / w_N.sum())}, 80, None, trial)
        hits += found["acc"][0] <= 0.8 <= found["acc"][1]
    assert 50 <= hits <= 60


def test_groups_widen_the_interval() -> None:
    right_N = np.repeat(np.random.default_rng(0).random(20) < 0.7, 10)
    groups_N = np.repeat(np.arange(20), 10)

    def width(groups: Any) -> float:
        found = intervals.bootstrap(lambda w_N: {"acc": float(w_N @ right_N / w_N.sum())}, 200, groups)["acc"]
        return found[1] - found[0]

    assert width(groups_N) > 2 * width(None)


def test_intervals_are_of_the_metrics_that_are_reported() -> None:
    """With weights of 1 the resampled formulas give what torchmetrics gives."""
    import torch

    generator = np.random.default_rng(0)
    probabilities_NK = generator.dirichlet(np.ones(4), size=300)
    labels_N = np.where(generator.random(300) < 0.6, probabilities_NK.argmax(axis=1), generator.integers(4, size=300))
    metrics = ClassificationMetrics(4)
    metrics.update(torch.from_numpy(probabilities_NK), torch.from_numpy(labels_N))
    expected = metrics.compute()
    found = class_intervals(
        CALIBRATED, Evidence("test", np.arange(300), {"outputs": np.log(probabilities_NK)}, labels_N)
    )
    for name in ("acc", "balanced_acc", "f1"):
        low, high = found[name]
        assert low < float(expected[name]) < high and high - low < 0.15
        assert (low + high) / 2 == pytest.approx(float(expected[name]), abs=0.01)


def test_without_a_mistake_accuracy_has_an_interval_all_the_same() -> None:
    logits_NK = np.log(np.tile([0.9, 0.1], (20, 1)))
    evidence = Evidence("test", np.arange(20), {"outputs": logits_NK}, np.zeros(20, dtype=np.int64))
    low, high = class_intervals(CALIBRATED, evidence)["acc"]
    assert high == 1 and low == pytest.approx(0.839, abs=0.001)  # Wilson's interval of 20 of 20


def counts_of(matrix_KK: np.ndarray) -> ConfusionCounts:
    labels_P, predicted_P = np.nonzero(matrix_KK)
    counts_P = matrix_KK[labels_P, predicted_P]
    return count_confusions(np.repeat(predicted_P, counts_P), np.repeat(labels_P, counts_P), len(matrix_KK))


def test_confusions_and_their_order() -> None:
    matrix_KK = np.array([[8, 0, 0, 5], [0, 9, 1, 0], [0, 2, 7, 0], [1, 0, 0, 9]])
    confusions = counts_of(matrix_KK)
    assert np.array_equal(confusions.matrix(), matrix_KK)
    assert confusions.most_confused(3) == [(0, 3, 5), (2, 1, 2), (1, 2, 1)]
    order = confusions.neighbouring_order()
    assert sorted(order) == [0, 1, 2, 3]
    assert abs(order.index(0) - order.index(3)) == 1 == abs(order.index(1) - order.index(2))


def test_abstaining_by_hand() -> None:
    confidences_N, right_N = np.array([0.95, 0.6, 0.8, 0.4]), np.array([True, False, True, False])
    coverage_N, accuracy_N = calibration.accuracy_by_coverage(confidences_N, right_N)
    assert coverage_N.tolist() == [0.25, 0.5, 0.75, 1] and accuracy_N.tolist() == pytest.approx([1, 1, 2 / 3, 0.5])
    rows = {
        threshold: (answered, right) for threshold, answered, right in calibration.abstaining(confidences_N, right_N)
    }
    assert rows[0.0] == (1, 0.5) and rows[0.7] == (0.5, 1) and rows[0.99] == (0, None)


def test_charts_keep_their_commonest_colors() -> None:
    """Paper stays white; a colour too many becomes its neighbour."""
    image = Image.new("RGB", (70, 20), "white")
    for x in range(70):
        image.putpixel((x, 0), (x, 2 * x, 250 - x))
    found = in_commonest_colors(image)
    difference_HW3 = np.abs(np.asarray(found.convert("RGB")).astype(int) - np.asarray(image))
    assert found.mode == "P" and len(found.getcolors()) == 64
    assert difference_HW3[1:].max() == 0 and difference_HW3[0, 7:].max() == 0
    assert difference_HW3[0, :7].tolist() == [[step, 2 * step, step] for step in range(7, 0, -1)]


def test_two_hundred_classes_are_readable() -> None:
    """An image with related classes side by side, and the commonest confusions as a table."""
    generator = np.random.default_rng(0)
    matrix_KK = np.diag(generator.integers(20, 40, size=200))
    matrix_KK[7, 150], matrix_KK[150, 7], matrix_KK[3, 4] = 9, 8, 2
    report = RunReport("x", cast(ImageTable, None), {}, {}, {}, [], 0)
    html = confusion_section(report, counts_of(matrix_KK), [f"class {k}" for k in range(200)])
    table = re.findall(r"<td[^>]*>([^<]*)</td>", html)
    assert table[:3] == ["class 7", "class 150", "9"] and "3" not in table[:3]
    assert report.figures["report/confusion"].width < 1400 and 'table class="matrix"' not in html


# ------------------------------------------------------------------------------------------------------- comparing runs


@pytest.fixture(scope="session")
def worse_run(colors: Path, colors_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same data and splits, hardly trained."""
    return run_train(
        tmp_path_factory.mktemp("worse") / "worse", "data=folder", f"data.root={colors}", "data.image_size_px=32",
        "data.batch_size=16", "trainer.max_epochs=1", "optimizer.lr=1e-5", "seed=1", "backbone.weights=null",
    )  # fmt: skip


def test_runs_side_by_side(colors_run: Run, worse_run: Run, command, tmp_path: Path) -> None:
    output = tmp_path / "c.html"
    answer = command("compare", f"runs={colors_run.directory}", str(worse_run.directory), f"output={output}")
    assert answer.status == 0, answer.err
    before, after = (
        {row["path"]: row["label"] == row["prediction"] for row in run.csv("report/test_predictions.csv")}
        for run in (colors_run, worse_run)
    )
    lost = [path for path in before if before[path] and not after[path]]
    gained = [path for path in before if after[path] and not before[path]]
    assert lost and f"{len(gained)} turned right, {len(lost)} wrong" in answer.out
    page = Page(output)
    assert all(path in page.text for path in [*lost, *gained]) and len(page.images("thumbnail")) == len(lost + gained)
    assert "optimizer.lr" in page.text and "1e-05" in page.text and "head.dropout" not in page.text
    assert f"{worse_run.metrics['test/acc']:.4f}" in page.text


@pytest.mark.parametrize(
    ("runs", "text"),
    [
        (["{run}"], "is a single run, whose own page is"),
        (["{run}", "nowhere"], "There is no folder 'nowhere'."),
        (["{run}", "src"], "'src' has no metrics.json"),
        (["{run}", "{run}", "metric=val/acc"], "is on both sides: a run cannot be compared with itself"),
        (["{run}", "{other}", "split=train"], "split='train' is not allowed"),
        (["{run}", "{run}", "output=src"], "output='src' is a folder"),
        (["{run}", "{run}", "output=no/where.html"], "the folder no does not exist"),
        ([""], "runs is not set"),
    ],
)
def test_mistakes_in_comparing(colors_run: Run, worse_run: Run, command, runs: list[str], text: str) -> None:
    arguments = [part.format(run=colors_run.directory, other=worse_run.directory) for part in runs]
    arguments[0] = f"runs={arguments[0]}" if arguments[0] else ""
    answer = command("compare", *(part for part in arguments if part))
    assert answer.status == 1 and text in answer.err and "Traceback" not in answer.err


@pytest.mark.parametrize("runs", ["", "[]", "['']"])
def test_nothing_to_compare(command, runs: str) -> None:
    answer = command("compare", f"runs={runs}")
    assert answer.status == 1 and answer.err == (
        "runs= names no run: give two or more, or a sweep: runs=<run dir> <run dir>.\n"
    )


def test_equal_labels_have_an_r2_of_zero() -> None:
    import torch

    errors = RegressionMetrics(1)
    errors.update(torch.linspace(0, 1, 50)[:, None], torch.full((50, 1), 1 / 3))
    assert float(errors.compute()["r2"]) == 0
    outputs_NT, layer = np.linspace(0, 1, 50)[:, None], RegressionOutputs(["number"], torch.zeros(1), torch.ones(1))
    evidence = Evidence("test", np.arange(50), {"outputs": outputs_NT}, np.full((50, 1), 1 / 3))
    found = number_intervals(SimpleNamespace(output_layer=lambda: layer), evidence)
    assert "r2" not in found  # no width: it is 0 in every resample
