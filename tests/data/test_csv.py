"""data=csv: what tables may look like, what is wrong with them, and how large they may be."""

import csv
import tracemalloc
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import run_train, typed

from src.build.data import build_datamodule
from src.data.formats.csv_table import CsvDataModule
from src.data.module import ImageDataModule
from src.models.preprocessing import Preprocessing
from src.settings.errors import ConfigError
from src.settings.nodes import Augmentation

PREPROCESSING = Preprocessing(36, 32, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def table(file: Path, content: str, targets: str = "classes", **settings: Any) -> CsvDataModule:
    file.write_text(content, encoding="utf-8")
    defaults = {"batch_size": 8, "num_workers": 0, "augmentation": Augmentation(), "seed": 0}
    return CsvDataModule(file=str(file), preprocessing=PREPROCESSING, targets=targets, **{**defaults, **settings})  # type: ignore[arg-type]


def rows(count: int, line: str) -> str:
    return "".join(line.format(i=i, odd=i % 2) + "\n" for i in range(count))


def sizes(data: ImageDataModule) -> dict[str, int]:
    return {split: len(found) for split, found in data.table.splits.items()}


def test_one_class_per_image(tmp_path: Path) -> None:
    data = table(tmp_path / "t.csv", "path,label\n" + rows(40, "{i}.png,c{odd}"))
    assert data.table.class_names == ["c0", "c1"] and data.table.labels.dtype == np.int64
    assert sizes(data) == {"train": 28, "val": 6, "test": 6}
    assert data.table.targets.text(3) == "c1" and data.table.file(3) == tmp_path / "3.png"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_spreadsheets_delimiters_and_byte_order_mark(tmp_path: Path, delimiter: str) -> None:
    text = "\ufeffpath,kind,split\n" + rows(6, "{i}.png,c{odd},train") + rows(4, "v{i}.png,c{odd},Validation")
    data = table(tmp_path / "t.csv", text.replace(",", delimiter), label_columns="kind")
    assert sizes(data) == {"train": 6, "val": 4} and any("no test split" in note for note in data.table.notes)


def test_rows_without_a_split_are_left_out(tmp_path: Path) -> None:
    text = "path,label,split\n" + rows(6, "{i}.png,c{odd},train") + rows(4, "v{i}.png,c{odd},") + "t.png,c0,test\n"
    assert sizes(table(tmp_path / "t.csv", text, val_fraction=0.34)) == {"train": 4, "val": 2, "test": 1}


def test_several_classes_in_one_column_or_in_many(tmp_path: Path) -> None:
    joined = table(tmp_path / "a.csv", "path,label\n1.png,dog; grass\n2.png,\n3.png,grass\n", "tags")
    split = table(tmp_path / "b.csv", "path,dog,grass\n1.png,1,1\n2.png,0,0\n3.png,0,1\n", "tags")
    for data in (joined, split):
        given = data.builder().finish()
        assert given.targets.values.tolist() == [[1, 1], [0, 0], [0, 1]] and given.targets.names == ["dog", "grass"]


def test_blanks_belong_to_no_name(tmp_path: Path) -> None:
    text = "path, label ,split\n" + rows(6, " {i}.png, c{odd} , train") + "v.png,c1 ,VAL \n"
    data = table(tmp_path / "t.csv", text)
    assert data.table.class_names == ["c0", "c1"] and sizes(data) == {"train": 6, "val": 1}
    assert data.table.paths.tolist()[0] == "0.png"


@pytest.mark.parametrize(
    ("cells", "classes", "note"),
    [
        (["x|y", "x", "z"], ["x", "y", "z"], "| separates classes"),
        (["x, y", "x", "y;z"], ["x", "x, y", "y", "z"], ""),  # a ; settles it
        (["x, y", "x", "y"], ["x", "y"], ", separates classes"),
        (["shark, great", "shark, great", "dog"], ["dog", "shark, great"], "commas belong to the names"),
        (["['x', 'y']", "[]", '["x"]'], ["x", "y"], ""),
    ],
)
def test_what_separates_classes(tmp_path: Path, cells: list[str], classes: list[str], note: str) -> None:
    file = tmp_path / "t.csv"
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([["path", "label"], *([f"{i}.png", cell] for i, cell in enumerate(cells))])
    found = table(file, file.read_text(), "tags").builder().finish()
    assert found.targets.names == classes
    assert any(note in text for text in found.notes) if note else not found.notes
    given = table(file, file.read_text(), "tags", label_separator="comma").builder().finish()
    assert "x, y" not in given.targets.names
    assert any("no label has" in text for text in given.notes) is not any("," in cell for cell in cells)


def test_lists_of_classes_in_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    columns = {"path": ["1.png", "2.png", "3.png"], "label": [["a;b", "c"], [], None]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    defaults: dict[str, Any] = {"batch_size": 8, "num_workers": 0, "augmentation": Augmentation(), "seed": 0}
    settings = {"file": str(tmp_path / "t.parquet"), "preprocessing": PREPROCESSING, **defaults}
    found = CsvDataModule(targets="tags", **settings).builder().finish()
    assert found.targets.names == ["a;b", "c"] and found.targets.values.tolist() == [[1, 1], [0, 0], [0, 0]]
    with pytest.raises(ConfigError, match="row 1: several labels, for which task=multilabel is"):
        CsvDataModule(targets="classes", **settings).builder()


def test_true_and_false_are_0_and_1_in_a_column_per_class(tmp_path: Path) -> None:
    found = table(tmp_path / "t.csv", "path,a,b\n1.png,True,false\n2.png,0,1\n", "tags").builder().finish()
    assert found.targets.values.tolist() == [[1, 0], [0, 1]]


def test_rows_that_name_an_image_again(tmp_path: Path) -> None:
    long = "path,label,group\na,x,\nb,y,g\na,y,h\n./a,,\n"
    found = table(tmp_path / "t.csv", long, "tags").builder().finish()
    assert found.paths.tolist() == ["a", "b"] and found.targets.values.tolist() == [[1, 1], [0, 1]]
    assert found.groups_N is not None and len(set(found.groups_N)) == 2
    assert any("2 rows name an image again: its classes are put together" in note for note in found.notes)
    for labels, text in {"classes": "path,label\na,x\nb,y\na,x\n", "numbers": "path,n\na,1\nb,2\na,1.0\n"}.items():
        found = table(tmp_path / "t.csv", text, labels).builder().finish()
        assert found.paths.tolist() == ["a", "b"]
        assert any("1 row names an image again, with the same label" in note for note in found.notes)


def test_rows_without_a_group_are_a_group_each(tmp_path: Path) -> None:
    text = "path,label,group\n" + rows(40, "{i}.png,c{odd},") + rows(8, "g{i}.png,c{odd},p{odd}")
    data = table(tmp_path / "t.csv", text)
    assert sizes(data)["train"] < 40 and any("40 rows have no group" in note for note in data.table.notes)
    assert data.table.groups_N is not None and len(set(data.table.groups_N)) == 42


def test_a_class_in_two_ways_of_unicode(tmp_path: Path) -> None:
    one, other = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    text = f"path,label\n1.png,{one}\n2.png,{other}\n3.png,bar\n"
    found = table(tmp_path / "t.csv", text).builder().finish()
    assert found.targets.names == ["bar", one] and found.targets.values.tolist() == [1, 1, 0]
    assert any("written in 2 ways of Unicode" in note for note in found.notes)
    known = table(tmp_path / "t.csv", text, known_classes=[other, "bar", "more"])  # as an older model calls them
    assert known.builder().finish().targets.values.tolist() == [0, 0, 1]


def test_a_trained_model_needs_no_rows_to_train_on(tmp_path: Path) -> None:
    text = "path,label,split\n" + rows(4, "{i}.png,c{odd},test")
    data = table(tmp_path / "t.csv", text)
    with pytest.raises(ConfigError, match=r"rows for test and none for train\. data\.split_column=null"):
        data.table  # noqa: B018
    assert sizes(table(tmp_path / "t.csv", text, known_classes=["c0", "c1"])) == {"test": 4}


def test_backslashes_and_blanks_in_paths(tmp_path: Path) -> None:
    for name in ("cat/1.png", " 2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = table(tmp_path / "t.csv", "path,label\ncat\\1.png,a\n 2.png,b\n 3.png ,b\n").builder().finish()
    assert found.paths.tolist() == ["cat/1.png", " 2.png", "3.png"]
    assert any("\\ in paths is read as /" in note for note in found.notes)


def test_numbers(tmp_path: Path) -> None:
    data = table(tmp_path / "t.csv", "path,age,height\n" + rows(20, "{i}.png,{i}.5,-{i}"), "numbers")
    assert data.table.class_names == ["age", "height"] and data.table.labels.dtype == np.float32
    assert data.table.labels[2].tolist() == [2.5, -2.0] and data.table.targets.text(2) == "2.5;-2"


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    columns = {"path": [f"{i}.png" for i in range(40)], "label": [f"c{i % 2}" for i in range(40)]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    defaults: dict[str, Any] = {"batch_size": 8, "num_workers": 0, "augmentation": Augmentation(), "seed": 0}
    data = CsvDataModule(file=str(tmp_path / "t.parquet"), preprocessing=PREPROCESSING, **defaults)
    assert data.table.class_names == ["c0", "c1"] and len(data.table) == 40


@pytest.mark.parametrize(
    ("content", "labels", "settings", "text"),
    [
        ("file,label\nx,a\n", "classes", {}, "data.path_column='path': "),
        ("path,labell\nx,a\n", "classes", {"label_columns": "label"}, "Did you mean 'labell'?"),
        ("path,a,b\nx,1,2\n", "classes", {}, "name the one with the classes, data.label_columns=<column>"),
        ("path\nx\n", "classes", {}, "has no column for labels, only: path"),
        ("path,label\n", "classes", {}, "has no rows"),
        ("path,label\nx,a\ny,\n", "classes", {}, "line 3: no label"),
        ("path,label\nx,a\n,a\n", "classes", {}, "line 3: no path"),
        ("path,label\nx,a\ny,a\n", "classes", {}, "only one class, 'a'"),
        ("path,label\nx,a,b\n", "classes", {}, "has 3 values, and the header names 2"),
        ("path,label,split\nx,a,nope\n", "classes", {}, "line 2: split 'nope' is none of train, val, test"),
        ("path,age\nx,old\n", "numbers", {}, "line 2: age='old' is no number"),
        ("path,age\nx,nan\n", "numbers", {}, "line 2: age='nan' is no number"),
        ("path;age\nx;0,5\n", "numbers", {}, "age='0,5' is no number: numbers are written with a point (0.5)"),
        ("path;age\nx;1.000,5\n", "numbers", {}, "numbers are written with a point (1000.5)"),
        ("path,age\n" + "x,old\n" * 9, "numbers", {}, "line 6: age='old' is no number\n  ... 4 more"),
        ("path,label\nx,a\n" + "x,b\n" * 9, "classes", {}, "\n  ... 4 more\nAn image with several classes"),
        ("a/1.JPG,cat\na/2.jpg,dog\n", "classes", {}, "It has: a/1.JPG, cat. The first line looks like data"),
        ("path,a,b\nx,1,2\n", "tags", {}, "line 2: a class column is neither 0 nor 1"),
        ("path,label\nx,a\n", "classes", {"group_column": "patient"}, "data.group_column='patient'"),
        ("path,label\n\nx,a\n\ny,\n", "classes", {}, "line 5: no label"),
        ("path,label,split\nx,a,0\n", "classes", {}, "data.split_column=null leaves the column alone"),
        ("path,label\nx,a\ny,b\nx,b\n", "classes", {}, "lines 2 and 4: x has the classes a and b"),
        ("path,age\nx,1\nx,2\n", "numbers", {}, "lines 2 and 3: x has the numbers 1 and 2"),
        ("path,label,split\nx,a,train\nx,a,val\n", "tags", {}, "lines 2 and 3: x has the splits 'train' and 'val'"),
        ("path,label,group\nx,a,\nx,a,g\nx,a,h\n", "tags", {}, "lines 2 and 4: x has the groups g and h"),
        ('path,label\nx,"a, b, c"\ny,a\n', "tags", {}, "data.label_separator=comma"),
        ("path,label\nx,a\n", "tags", {"label_separator": ""}, "data.label_separator='' is empty"),
        ("path,label,label\nx,a,b\n", "classes", {}, "has 2 columns 'label'"),
    ],
)
def test_mistakes(tmp_path: Path, content: str, labels: str, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as error:
        table(tmp_path / "t.csv", content, labels, **settings).table  # noqa: B018
    assert text in str(error.value)


def test_no_utf8_and_no_file(tmp_path: Path) -> None:
    data = table(tmp_path / "t.csv", "")
    (tmp_path / "t.csv").write_bytes("path,label\nx,Käse\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="no csv file in UTF-8"):
        data.table  # noqa: B018
    (tmp_path / "t.csv").unlink()
    with pytest.raises(ConfigError, match="does not exist"):
        data.table  # noqa: B018


def test_groups_stay_together(tmp_path: Path) -> None:
    text = "path,label,group\n" + "".join(f"{i}.png,c{i % 2},p{i // 5}\n" for i in range(200))
    found = table(tmp_path / "t.csv", text).table
    assert found.groups_N is not None
    groups = {split: set(found.groups_N[where]) for split, where in found.splits.items()}
    assert sum(map(len, groups.values())) == 40 and all(groups.values())
    assert [len(found.splits[split]) for split in ("val", "test")] == pytest.approx([30, 30], abs=5)
    given = text.replace("path,label,group", "path,label,group,split")
    lines = [f"{line},{'train' if i % 2 else 'val'}" for i, line in enumerate(given.splitlines()[1:])]
    leaking = table(tmp_path / "u.csv", "\n".join([given.splitlines()[0], *lines, ""])).table
    assert any("Leak: 40 groups have images in both train and val" in note for note in leaking.notes)


@pytest.mark.slow
def test_a_million_rows_take_seconds_and_hundreds_of_megabytes(tmp_path: Path) -> None:
    """A tenth of that here: 100,000 rows in less than 40 MB, kept; docs/performance.md has the million."""
    file = tmp_path / "t.csv"
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["path", "label"])
        writer.writerows((f"some/folder/with/a/name/image_{i:09d}.jpg", f"class_{i % 1000}") for i in range(100_000))
    data = table(file, file.read_text())
    tracemalloc.start()
    found = data.table
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 100_000 and len(found.class_names) == 1000 and kept < 40e6


# ------------------------------------------------------------------------------------------------------ whole commands


@pytest.fixture(scope="module")
def color_table(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The coloured digits with: a class; several classes; how red and how blue they are, as numbers."""
    file = tmp_path_factory.mktemp("tables") / "colors.csv"
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["path", "label", "tags", "red", "blue"])
        for image in sorted(colors.rglob("*.*")):
            color = image.parent.name
            tags = {"red": "warm;strong", "blue": "cold;strong", "green": "cold"}[color]
            numbers = {"red": (220, 60), "green": (60, 90), "blue": (60, 220)}[color]
            writer.writerow([image, color, tags, *numbers])
    return file


SMALL = ("data.image_size_px=32", "data.batch_size=16", "optimizer.lr=1e-3", "augment=none")


def test_multilabel_from_training_to_predictions(color_table: Path, tmp_path: Path, command) -> None:
    settings = ["task=multilabel", f"data.file={color_table}", "data.label_columns=tags", "trainer.max_epochs=3"]
    run = run_train(tmp_path / "run", *settings, *SMALL, "loss.class_weights=inverse", "data.balanced_sampling=true")
    assert run.metrics["test/map"] > 0.9 and run.metrics["test/f1_macro"] > 0.7
    kept = run.checkpoint()["state_dict"]
    assert kept["thresholds_K"].shape == (3,) and (kept["thresholds_K"] != 0.5).any()
    assert "Classes in train: strong 28, cold 28, warm 14" in run.log
    answer = command(
        "predict", f"ckpt={run.directory}", f"images={color_table}", f"output={tmp_path}/p.csv", "num_workers=0"
    )
    assert answer.status == 0, answer.err
    with (tmp_path / "p.csv").open(newline="") as lines:
        found = list(csv.DictReader(lines))
    assert list(found[0]) == ["path", "prediction", "ood_score", "error", "prob:cold", "prob:strong", "prob:warm"]
    limits_K = torch.sigmoid(torch.logit(kept["thresholds_K"]) / run.metrics["temperature"])  # of calibrated ones
    for row in found:
        scores = {name: float(row[f"prob:{name}"]) for name in ("cold", "strong", "warm")}
        limits = dict(zip(scores, limits_K.tolist(), strict=True))
        assert row["prediction"] == ";".join(name for name in scores if scores[name] >= limits[name] - 1e-6)
    answer = command("evaluate", f"ckpt={run.directory}", "accelerator=cpu")
    assert f"test/f1_macro           {run.metrics['test/f1_macro']:.4f}" in answer.out


def test_regression_from_training_to_predictions(color_table: Path, tmp_path: Path, command) -> None:
    settings = ["task=regression", f"data.file={color_table}", "data.label_columns=[red,blue]", "trainer.max_epochs=5"]
    run = run_train(tmp_path / "run", *settings, *SMALL)
    assert run.metrics["test/r2"] > 0.5 and run.metrics["test/mae"] < 40
    mean = (run.metrics["test/mae/red"] + run.metrics["test/mae/blue"]) / 2
    assert run.metrics["test/mae"] == pytest.approx(mean, rel=1e-5)
    kept = run.checkpoint()["state_dict"]
    assert 100 < kept["mean_T"][0] < 125 and 60 < kept["std_T"][0] < 90
    answer = command(
        "predict", f"ckpt={run.directory}", f"images={color_table}", f"output={tmp_path}/p.csv", "num_workers=0"
    )
    assert answer.status == 0, answer.err
    with (tmp_path / "p.csv").open(newline="") as lines:
        found = list(csv.DictReader(lines))
    assert list(found[0]) == ["path", "red", "blue", "error"]
    reds = [float(row["red"]) for row in found if "/red/" in row["path"]]
    assert np.mean(reds) > 150
    tested = run.csv("report/test_predictions.csv")
    errors = [abs(float(row["red"]) - float(row["label"].split(";")[0])) for row in tested]
    assert np.mean(errors) == pytest.approx(run.metrics["test/mae/red"], rel=1e-3)


def test_the_task_has_to_fit_the_data(colors: Path, color_table: Path, tmp_path: Path, command) -> None:
    answer = command("train", "task=regression", "data=folder", f"data.root={colors}", f"output_dir={tmp_path}/x")
    assert answer.status == 1 and "data=folder is for task.targets=classes, and this task" in answer.err
    answer = command("train", "data=csv", f"output_dir={tmp_path}/x")
    assert answer.status == 1 and "data.file is not set" in answer.err


def test_class_weights_and_balanced_sampling_are_off_by_default() -> None:
    cfg = typed()
    assert cfg.loss["class_weights"] is None and cfg.data["balanced_sampling"] is False
    assert not build_datamodule(cfg).balanced_sampling
