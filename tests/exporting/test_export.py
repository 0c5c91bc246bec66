"""export: the file alone answers as src.predict does, or it is not written."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import Answer, Run, Runner
from PIL import Image
from support.slow import one_in

from src.data.transforms import evaluation_transform
from src.exporting.images import to_array
from src.models.pillow_resize import PillowResize
from src.models.preprocessing import Preprocessing
from src.settings.project import PROJECT_ROOT


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def photograph() -> Image.Image:
    """Noise, smooth and sharp at once: what resizing gets wrong first."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    smooth = Image.fromarray(noise[:12, :16]).resize((120, 90))
    return Image.blend(smooth, Image.fromarray(noise), 0.5)


SIZES = [
    (64, 64), (64, 80), (80, 64), (7, 5), (8, 8), (1, 1), (1, 300), (300, 1), (128, 128), (500, 120), (120, 500),
    (129, 257), (61, 200), (60, 200), (333, 999), (96, 191), (96, 193), (1000, 70),
]  # fmt: skip


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("sizes", "mode"),
    [((64, 64), "crop"), ((72, 64), "crop"), ((73, 64), "crop"), ((75, 60), "crop"), ((64, 64), "fit"),
     ((70, 61), "fit"), ((64, 64), "stretch"), ((70, 61), "stretch")],
)  # fmt: skip
def test_the_graph_resizes_to_the_pixels_of_pillow(
    photograph: Image.Image, interpolation: str, sizes: tuple[int, int], mode: str
) -> None:
    """Every pixel, where it is enlarged, reduced, tall, wide, of an odd margin, and of one pixel."""
    preprocessing = Preprocessing(*sizes, interpolation, (0.5, 0.4, 0.3), (0.5,) * 3, mode)
    transform, resize = evaluation_transform(preprocessing), PillowResize(preprocessing)
    for size in SIZES:
        image = photograph.resize(size, Image.Resampling.NEAREST)
        found_CSS = resize(torch.from_numpy(to_array(image).copy())[None])[0]
        assert torch.equal(found_CSS, transform(image).float()), size


@pytest.mark.slow  # test_golden.py exports to ONNX too
@pytest.mark.parametrize(("format", "file"), [("onnx", "model.onnx"), ("torch", "model.pt2")])
def test_export_writes_a_file_that_answers_alike(colors_run: Run, here: Path, command, format: str, file: str) -> None:
    answer: Answer = command("export", f"ckpt={colors_run.directory}", f"format={format}")
    assert answer.status == 0, answer.err
    assert {path.name for path in here.iterdir()} == {file, "model.json"}
    assert "answers as the checkpoint's" in answer.err
    lines = answer.out.splitlines()
    accuracies = [line.split()[1] for line in lines if line.startswith(("checkpoint", "fp32"))]
    assert accuracies == [f"{colors_run.metrics['test/acc']:.4f}"] * 2
    facts = json.loads((here / "model.json").read_text())
    assert facts["class_names"] == ["blue", "green", "red"] and facts["task"] == "classification"
    assert facts["temperature"] == pytest.approx(colors_run.metrics["temperature"])
    assert facts["thresholds"] is None and facts["precision"] == "fp32" and facts["format_version"] == 1
    if format == "onnx":
        session = onnxruntime.InferenceSession(here / file)
        metadata = session.get_modelmeta().custom_metadata_map
        assert {key: json.loads(value) for key, value in metadata.items()} == facts
        assert [str(size) for size in session.get_inputs()[0].shape] == ["N", "3", "H", "W"]
        assert [output.name for output in session.get_outputs()] == facts["outputs"] == ["probabilities", "ood_score"]
    else:
        kept = {"finetune.json": ""}
        torch.export.load(file, extra_files=kept)
        assert json.loads(kept["finetune.json"]) == facts


@pytest.mark.slow  # test_golden.py holds what predict and the file answer
def test_predict_onnx_equals_predict(colors: Path, colors_run: Run, here: Path, command) -> None:
    """In a process of its own that imports nothing of this project, with damage and what needs care."""
    images = here / "images"
    shutil.copytree(colors / "red", images / "red")
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    large = Image.linear_gradient("L").convert("RGB").resize((900, 700))
    exif = Image.Exif()
    exif[0x0112] = 6
    large.save(images / "turned.jpg", exif=exif)  # also large enough to be decoded at an eighth
    Image.new("RGBA", (50, 40), (255, 0, 0, 90)).save(images / "glass.png")
    answer: Answer = command("export", f"ckpt={colors_run.directory}")
    assert answer.status == 0 and "answers as the checkpoint's" in answer.err, answer.err
    lines = [line for line in answer.out.splitlines() if line.startswith(("checkpoint", "fp32"))]
    assert [line.split()[1] for line in lines] == [f"{colors_run.metrics['test/acc']:.4f}"] * 2
    arguments = [f"ckpt={colors_run.directory}", "images=images", "output=a.csv", "accelerator=cpu"]
    assert command("predict", *arguments).status == 0
    script = shutil.copy(PROJECT_ROOT / "scripts" / "predict_onnx.py", here / "p.py")
    subprocess.run([sys.executable, script, "model.onnx", "images", "b.csv"], check=True, cwd=here)
    same_predictions(rows_of(here / "a.csv"), rows_of(here / "b.csv"), 23)
    lines = Path(script).read_text().splitlines()
    assert len(lines) <= 200 and not [line for line in lines if line.startswith(("from src", "import src"))]


@pytest.mark.slow
def test_predict_onnx_spares_files_and_says_what_is_missing(colors: Path, here: Path) -> None:
    script = PROJECT_ROOT / "scripts" / "predict_onnx.py"
    (here / "labels.csv").write_text("path,label\na.jpg,cat\n")
    (here / "old.csv").write_text("path,prediction,confidence,ood_score,error\n")
    (here / "other.onnx").write_text("no model")
    (here / "empty").mkdir()
    image = next(colors.rglob("*.jpg"))
    shutil.copy(image, here / "a.jpg")
    before = {file.name: file.read_bytes() for file in here.iterdir() if file.is_file()}
    for arguments, text in (
        (["other.onnx", "a.jpg", "a.jpg"], "'a.jpg' is there already"),
        (["other.onnx", "a.jpg", "labels.csv"], "'labels.csv' is there already"),
        (["other.onnx", "a.jpg", "empty"], "'empty' is there already"),
        (["other.onnx", "nowhere"], "'nowhere' is no image"),
        (["other.onnx", "empty"], "'empty' is no image and no folder with images"),
        (["other.onnx", "a.jpg", "old.csv"], "'other.onnx' is no .onnx of src.export"),
        (["none.onnx", "a.jpg"], "'none.onnx' is no .onnx of src.export"),
    ):
        done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, cwd=here)
        assert done.returncode == 1 and text in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert {file.name: file.read_bytes() for file in here.iterdir() if file.is_file()} == before


def same_predictions(expected: list[dict[str, str]], found: list[dict[str, str]], count: int) -> None:
    assert len(expected) == count and [list(row) for row in found] == [list(row) for row in expected]
    for one, other in zip(expected, found, strict=True):
        for column, text in one.items():
            if column.startswith(("prob:", "confidence", "ood", "size")) and text:
                assert float(other[column]) == pytest.approx(float(text), abs=1e-3)
            else:
                assert other[column] == text


@pytest.mark.slow
@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_other_tasks(colors: Path, trained: Runner, here: Path, command, task: str) -> None:
    with (here / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        for i, path in enumerate(sorted(colors.rglob("*.[pj]*g"))):
            several = ";".join([path.parent.name] + ["even"] * (i % 2 == 0))
            writer.writerow([path, several if task == "multilabel" else 10 * len(path.parent.name)])
    columns = ["data.label_columns=[label]"] if task == "regression" else []
    run = trained(f"task={task}", f"data.file={here}/table.csv", "data.image_size_px=32", *columns)
    assert command("export", f"ckpt={run.directory}", "format=torch").status == 0
    answer: Answer = command("export", f"ckpt={run.directory}")
    assert answer.status == 0, answer.err
    facts = json.loads((here / "model.json").read_text())
    assert facts["task"] == task and facts["outputs"][0] == ("values" if task == "regression" else "probabilities")
    assert (len(facts["thresholds"]) == 4) if task == "multilabel" else (facts["thresholds"] is None)
    assert command("predict", f"ckpt={run.directory}", f"images={colors}/red", "output=a.csv").status == 0
    script = str(PROJECT_ROOT / "scripts" / "predict_onnx.py")
    subprocess.run([sys.executable, script, "model.onnx", f"{colors}/red", "b.csv"], check=True, cwd=here)
    expected, found = rows_of(here / "a.csv"), rows_of(here / "b.csv")
    if task == "regression":
        assert list(found[0]) == list(expected[0])
        for one, other in zip(expected, found, strict=True):
            assert float(other["predicted:label"]) == pytest.approx(float(one["predicted:label"]), rel=1e-3)
    else:
        same_predictions(expected, found, 20)


@pytest.mark.slow
def test_variants(colors_run: Run, here: Path, command) -> None:
    answer: Answer = command("export", f"ckpt={colors_run.directory}", "variants=[fp16,int8]", "calibration_images=16")
    assert answer.status == 0, answer.err
    names = {"model", "model_fp16", "model_int8"}
    assert {path.name for path in here.iterdir()} == {f"{n}{s}" for n in names for s in (".onnx", ".json")}
    sizes = {n: (here / f"{n}.onnx").stat().st_size for n in names}
    assert sizes["model_int8"] < 0.4 * sizes["model"] and 0.4 < sizes["model_fp16"] / sizes["model"] < 0.6
    assert json.loads((here / "model_int8.json").read_text())["precision"] == "int8"
    header, *lines = answer.out.splitlines()[:5]
    columns = header.split()[3:]  # behind "9 test images"
    table = {line.split()[0]: dict(zip(columns, map(float, line.split()[1:]), strict=True)) for line in lines}
    assert table["fp16"]["agreement"] == 1.0 and table["fp16"]["difference"] < 0.02
    assert table["int8"]["agreement"] > 0.7


@pytest.mark.slow  # torch.compile takes minutes where the machine is busy
def test_latency(colors_run: Run, here: Path, command) -> None:
    answer: Answer = command("export", f"ckpt={colors_run.directory}", "latency=true")
    assert answer.status == 0, answer.err
    assert "batch  1  torch eager" in answer.out and "batch 32  file fp32" in answer.out


class OtherwiseExported(torch.nn.Conv2d):
    """A user's head that says something else where it is traced."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        outputs = super().forward(input)
        return outputs.flip(1) if torch.compiler.is_exporting() else outputs


def otherwise_exported(in_features: int, num_classes: int, conv: bool, dropout: float = 0.0) -> torch.nn.Module:
    return OtherwiseExported(in_features, num_classes, 1)


@pytest.mark.slow
def test_a_file_that_answers_otherwise_is_not_written(
    colors_run: Run, here: Path, command, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A good file of before stays, and no other is left."""
    checkpoint = colors_run.checkpoint()
    checkpoint["finetune"]["config"]["head"]["_target_"] = "test_export.otherwise_exported"
    file = tmp_path_factory.mktemp("otherwise") / "best.ckpt"
    torch.save(checkpoint, file)
    (here / "model.onnx").write_bytes(b"good")
    (here / "model.json").write_text("good")
    answer: Answer = command("export", f"ckpt={file}", "overwrite=true", "trust=true")
    assert answer.status == 1 and "it answers otherwise than the checkpoint" in answer.err
    assert "Traceback" not in answer.err
    assert {path.name: path.read_text() for path in here.iterdir()} == {"model.onnx": "good", "model.json": "good"}


@pytest.mark.slow
def test_two_formats_share_one_json_if_it_is_true_of_both(colors_run: Run, here: Path, command) -> None:
    """The facts beside another checkpoint's .onnx file stay; the same checkpoint's may be written again."""
    assert command("export", f"ckpt={colors_run.directory}", "format=torch", "output=other.pt2").status == 0
    facts = json.loads((here / "other.json").read_text())
    text = json.dumps({**facts, "temperature": 9.0})
    (here / "model.json").write_text(text)
    (here / "model.onnx").write_bytes(b"of another run")
    answer: Answer = command("export", f"ckpt={colors_run.directory}", "format=torch")
    assert answer.status == 1 and "model.json is about model.onnx" in answer.err, answer.err
    assert (here / "model.json").read_text() == text and not (here / "model.pt2").exists()
    shutil.copy("other.json", "model.json")
    shutil.move("other.pt2", "model.pt2")
    answer = command("export", f"ckpt={colors_run.directory}", "format=torch")
    assert answer.status == 0, answer.err  # the same facts, and its own earlier file, which says so itself


@pytest.mark.slow
def test_without_the_data_of_the_run(colors_run: Run, here: Path, command) -> None:
    """The embedded digits serve for the comparison; int8 has nothing to learn from."""
    checkpoint = colors_run.checkpoint()
    checkpoint["finetune"]["config"]["data"]["root"] = str(here / "gone")
    torch.save(checkpoint, here / "moved.ckpt")
    answer: Answer = command("export", "ckpt=moved.ckpt", "format=torch")
    assert answer.status == 0 and "of the embedded digits" in answer.err, answer.err
    answer = command("export", "ckpt=moved.ckpt", "variants=[int8]")
    assert answer.status == 1 and "learns the ranges of its numbers from training images" in answer.err
    assert {path.name for path in here.iterdir()} == {"moved.ckpt", "model.pt2", "model.json"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    one_in(
        3,
        [
            (["format=onx"], "Did you mean 'onnx'? Allowed: onnx, torch."),
            (["variants=[int4]"], "Allowed: fp16, int8."),
            (["variants=[fp16]", "format=torch"], "are made of format=onnx alone"),
            (["output=nowhere/model.onnx"], "the folder nowhere does not exist"),
            (["output=."], "is a folder: give the name of a .onnx file"),
            (["output=model.pt2"], "with format=onnx the file's name must end in .onnx"),
            (["images=nope*"], "images='nope*' matches no file"),
        ],
    ),
)
def test_mistakes(colors_run: Run, here: Path, command, arguments: list[str], text: str) -> None:
    answer: Answer = command("export", f"ckpt={colors_run.directory}", *arguments)
    assert answer.status == 1 and text in answer.err and "Traceback" not in answer.err, answer.err
    assert not list(here.iterdir())


def test_a_missing_extra_is_named(colors_run: Run, here: Path, command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # Python's own way to say that there is none
    answer: Answer = command("export", f"ckpt={colors_run.directory}")
    assert answer.status == 1 and "needs onnxscript: uv sync --extra export" in answer.err


FAMILIES = PROJECT_ROOT / "scripts" / "export_all.py"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "vit_b_32"])
def test_families(name: str) -> None:
    """All of them: python -m scripts.export_all."""
    done = subprocess.run([sys.executable, "-m", "scripts.export_all", name], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(" s |") == 2, done.stdout + done.stderr
