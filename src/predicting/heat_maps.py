"""A heat map for each image and explained class, drawn as PNG, and a table of them.

Shapes: B images of a batch, C channels, H and W pixels.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from src.build.trained_model import TrainedModel
from src.cli.progress import progress_bar
from src.data.dataset import FileDataset, collate_files
from src.data.transforms import evaluation_transform
from src.evaluation.prediction import Prediction
from src.files.csv_files import CsvWriter
from src.files.whole_files import GrowingFile, made_folder
from src.predicting.drawing import save_png
from src.predicting.output import PAGE, TABLE
from src.reports.heat_maps import draw_explanation, write_page
from src.settings.errors import ConfigError, did_you_mean
from src.training.task import FineTuneTask

COLUMNS = ["path", "prediction", "confidence", "explained", "explained_probability", "file", "error"]


class Explainer:
    """Writes the maps of a folder of images, and the files that show them.

    `class_name`: class or target to explain; None = what is predicted. Raises ConfigError if the model has none such.
    """

    def __init__(self, model: TrainedModel, class_name: str | None) -> None:
        if why := model.task.prediction.no_heat_maps:
            raise ConfigError(why)
        self.task, self.preprocessing = model.task, model.preprocessing
        self.wanted = None if class_name is None else find_class(class_name, self.task.class_names)
        self.rows: list[dict[str, str]] = []
        self.empty = 0  # maps

    @property
    def errors(self) -> list[str]:
        """Of images that cannot be read."""
        return [f"{row['path']}: {row['error']}" for row in self.rows if "error" in row]

    def write(self, output: Path, folder: Path, paths: list[str], batch_size: int, spreadsheet_safe: bool) -> None:
        """explanations.csv grows while the maps are drawn; index.html comes last."""
        dataset = FileDataset(folder, paths, evaluation_transform(self.preprocessing))
        with made_folder(output), GrowingFile(output / TABLE) as file, progress_bar() as progress:
            bar = progress.add_task("explain", total=len(paths), speed="", loss="")
            writer = CsvWriter(file, COLUMNS, spreadsheet_safe)
            for first in range(0, len(paths), batch_size):
                numbers = range(first, min(first + batch_size, len(paths)))
                batch = collate_files([dataset[i] for i in numbers])
                images_BCHW = cast(Tensor, batch.images)  # tasks with maps crop or pad to one size
                maps, readable = self.maps_of(images_BCHW), iter(images_BCHW)
                for number, path, reason in zip(numbers, batch.paths, batch.errors, strict=True):
                    found = [{"error": reason}] if reason else self.draw(next(readable), next(maps), number + 1, output)
                    self.rows += [{"path": path, **row} for row in found]
                    writer.write_all(self.rows[-len(found) :])
                file.keep()
                progress.update(bar, advance=len(numbers))
            write_page(output / PAGE, self.rows)

    def maps_of(self, images_BCHW: Tensor) -> Iterator[list["Map"]]:
        """Of each image: it has several where several classes are predicted."""
        predictions = predict(self.task, images_BCHW)
        chosen = [(b, k) for b, one in enumerate(predictions) for k in one.to_explain(self.wanted)]
        at_B, classes_B = torch.tensor(chosen, dtype=torch.int64).reshape(-1, 2).T
        heat = iter(self.task.heat_maps(images_BCHW[at_B], classes_B)) if chosen else iter(())
        for one in predictions:
            yield [(one, k, next(heat)) for k in one.to_explain(self.wanted)]

    def draw(self, image_CHW: Tensor, maps: list["Map"], number: int, output: Path) -> list[dict[str, str]]:
        """A PNG and a row of the table for each map."""
        rows = []
        for turn, (prediction, k, heat_HW) in enumerate(maps, start=1):
            self.empty += int(heat_HW.max() == 0)
            name = f"{number:05d}{f'_{turn}' if turn > 1 else ''}.png"
            row = prediction.explained(k)
            sure = {key: f" {float(row[key]):.0%}" for key in ("confidence", "explained_probability") if key in row}
            said, explained = row["prediction"] or "nothing", f"for {row['explained']}"
            titles = (said + sure.get("confidence", ""), explained + sure.get("explained_probability", ""))
            save_png(draw_explanation(image_CHW.permute(1, 2, 0).numpy(), heat_HW.numpy(), *titles), output / name)
            rows.append({**row, "file": name})
        return rows


Map = tuple[Prediction, int, Tensor]  # what is predicted, the class or target of the map, float32 [H, W]


def predict(task: FineTuneTask, images_BCHW: Tensor) -> Sequence[Prediction]:
    if not len(images_BCHW):
        return []
    with torch.inference_mode():
        return list(task.predictions(task(images_BCHW.to(task.device))))


def find_class(name: str, class_names: list[str]) -> int:
    if name not in class_names:
        hint, names = did_you_mean(name, class_names), ", ".join(class_names[:50])
        raise ConfigError(f"class_name='{name}' is unknown to this model.{hint} It knows: {names}.")
    return class_names.index(name)
