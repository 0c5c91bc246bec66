"""What src.predict writes: a csv file, or COCO results as JSON. Both grow image by image. No torch."""

import json
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from src.evaluation.found_objects import FoundObjects
from src.evaluation.prediction import Prediction
from src.files.csv_files import CsvWriter
from src.files.outputs import RESULTS_BEGIN
from src.files.whole_files import GrowingFile


class Result(NamedTuple):
    """What is said about an image, and its size in the file, upright; or `error`, why nothing is."""

    path: str
    prediction: Prediction | None = None
    size_wh: tuple[int, int] = (0, 0)
    error: str | None = None


class ResultsWriter(Protocol):
    def write(self, result: Result) -> None: ...
    def end(self) -> None: ...


class CsvResults:
    """Rows as `Prediction.rows` has them, behind the path."""

    def __init__(self, file: GrowingFile, columns: list[str], spreadsheet_safe: bool) -> None:
        self.writer = CsvWriter(file, ["path", *columns], spreadsheet_safe)

    def write(self, result: Result) -> None:
        rows = [{"error": result.error}] if result.prediction is None else result.prediction.rows()
        self.writer.write_all({"path": result.path, **row} for row in rows)

    def end(self) -> None:
        pass


class CocoResults:
    """One object with `categories`, `annotations` (boxes with a score, one per line), `images` and `errors`.

    Images and classes count from 1. The images come last, since only then are all of them known.
    """

    def __init__(self, file: GrowingFile, class_names: list[str]) -> None:
        self.file, self.boxes = file, 0
        self.images: list[str] = []  # JSON
        self.errors: list[str] = []
        categories = [{"id": k, "name": name} for k, name in enumerate(class_names, start=1)]
        file.write(f'{RESULTS_BEGIN},\n"categories": {to_json(categories)},\n"annotations": [')

    def write(self, result: Result) -> None:
        if result.prediction is None:
            self.errors.append(to_json({"path": result.path, "error": result.error}))
            return
        assert isinstance(result.prediction, FoundObjects)
        number, (width, height) = len(self.images) + 1, result.size_wh
        self.images.append(to_json({"id": number, "file_name": result.path, "width": width, "height": height}))
        for one in result.prediction.annotations(result.size_wh):
            self.boxes += 1
            annotation = {"id": self.boxes, "image_id": number, **one, "iscrowd": 0}
            self.file.write(f"{'' if self.boxes == 1 else ','}\n{to_json(annotation)}")

    def end(self) -> None:
        images, errors = (",\n".join(lines) for lines in (self.images, self.errors))
        self.file.write(f'\n],\n"images": [\n{images}\n],\n"errors": [\n{errors}\n]}}\n')


def to_json(value: Any) -> str:
    """ASCII, so that file names that are no UTF-8 can be written too."""
    return json.dumps(value)


def results_writer(
    file: GrowingFile, output: Path, prediction: type[Prediction], class_names: list[str], spreadsheet_safe: bool
) -> ResultsWriter:
    """By the ending of the output's name."""
    if output.suffix.lower() == ".json":
        return CocoResults(file, class_names)
    return CsvResults(file, prediction.columns(class_names), spreadsheet_safe)
