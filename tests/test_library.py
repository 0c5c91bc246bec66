"""The project as a library: what the commands do, from Python, with exceptions; and the notebook that shows it."""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, Answer, Run
from PIL import Image

from src import TrainedModel, fine_tune
from src.settings.errors import ConfigError
from src.settings.project import PROJECT_ROOT

NOTEBOOK = PROJECT_ROOT / "notebooks" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def model(colors_run: Run) -> TrainedModel:
    return TrainedModel.open(colors_run.directory)


def test_predictions_of_arrays_images_and_files_are_those_of_the_command(
    model: TrainedModel, colors: Path, colors_run: Run, command, tmp_path: Path
) -> None:
    files = [file for color in ("blue", "green", "red") for file in sorted((colors / color).glob("*.png"))[:2]]
    output = tmp_path / "p.csv"
    table = tmp_path / "images.csv"
    table.write_text("path\n" + "".join(f"{file}\n" for file in files))
    answer: Answer = command("predict", f"ckpt={colors_run.directory}", f"images={table}", f"output={output}")
    assert answer.status == 0, answer.err
    expected = [line.split(",")[1:3] for line in output.read_text().splitlines()[1:]]
    opened = [Image.open(file) for file in files]
    for images in (files, [str(file) for file in files], opened, [np.asarray(image) for image in opened]):
        found = model.predict(images)
        assert [[one.answer, f"{one.confidence:.6f}"] for one in found] == expected
    assert model.predict([]) == []


def test_what_is_no_image_is_named(model: TrainedModel) -> None:
    right = np.zeros((40, 40, 3), np.uint8)
    for wrong, words in (
        (right.astype(np.float32), "array of float32 [40, 40, 3] is no image: uint8 [H, W, 3]"),
        (right.transpose(2, 0, 1), "array of uint8 [3, 40, 40] is no image"),
        (right[:0], "is no image"),
        (np.zeros((2, 3000), np.uint8), "one side is more than 1000 times the other"),
        (7, "int is neither a path nor an array"),
        ("nowhere.png", "('nowhere.png') cannot be used: [Errno 2] No such file"),
    ):
        with pytest.raises(ConfigError) as told:
            model.predict([right, wrong])  # type: ignore[list-item]
        assert str(told.value).startswith("images[1]") and words in str(told.value)


def test_fine_tune_is_the_command(colors: Path, tmp_path: Path) -> None:
    handlers, arguments = list(logging.getLogger().handlers), sys.argv
    settings = (*SMALL, "data=folder", f"data.root={colors}", "data.image_size_px=32", "trainer.max_epochs=1")
    run = fine_tune(*settings, f"output_dir={tmp_path / 'a b'}")
    assert run.directory == tmp_path / "a b" and run.report.is_file()
    assert run.metrics == json.loads((run.directory / "metrics.json").read_text()) and "test/acc" in run.metrics
    assert "-m src.train trainer=cpu" in (run.directory / "environment.json").read_text()
    assert run.open().record.config["trainer"]["max_epochs"] == 1
    assert logging.getLogger().handlers == handlers and sys.argv is arguments


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["bakbone=resnet50"], "bakbone is no setting. Did you mean 'backbone'?"),
        (["trainer.max_epochs=many"], "trainer.max_epochs='many' is not a whole number"),
        (["data=folder", "data.root=nowhere"], "data.root='nowhere' does not exist"),
        (["-m", "seed=0,1"], "leave out -m"),
    ],
)
def test_mistakes_are_exceptions(settings: list[str], words: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as told:
        fine_tune(*settings)
    assert words in str(told.value)
    assert not list(tmp_path.glob("logs/runs/*")), "a directory of a run that never was"


def test_a_recipe_of_a_file_counts(tmp_path: Path) -> None:
    (tmp_path / "best.yaml").write_text("trainer:\n  max_epochs: many\n")
    with pytest.raises(ConfigError, match=r"trainer\.max_epochs='many' is not a whole number"):
        fine_tune(f"experiment={tmp_path / 'best.yaml'}")


@pytest.mark.slow
def test_several_devices_are_processes_of_their_own(colors: Path, tmp_path: Path) -> None:
    settings = (*SMALL, "data=folder", f"data.root={colors}", "data.image_size_px=32", "trainer.max_epochs=1")
    run = fine_tune(*settings, f"output_dir={tmp_path / 'run'}", "trainer.devices=2")
    assert "2 x cpu" in (run.directory / "train.log").read_text() and run.metrics["epochs"] == 1


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 5 and not any(cell["outputs"] or cell["execution_count"] for cell in cells)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    """In a kernel, as Jupyter runs it. Its runs go to the project's logs, so it runs in a copy."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    for name in ("src", "conf", "pyproject.toml"):
        (tmp_path / name).symlink_to(PROJECT_ROOT / name)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (tmp_path / "notebooks").mkdir()
    resources = {"metadata": {"path": str(tmp_path / "notebooks")}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    texts = [str(cell["outputs"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert "test/acc" in texts[2] and "'prediction': '0'" in texts[3] and "image/png" in texts[4]
