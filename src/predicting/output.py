"""Where src.predict and src.explain may write, and whether answers can be left out. No torch."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.evaluation.prediction import Prediction
from src.files.outputs import output_file, output_folder
from src.files.plain_files import read_yaml
from src.files.printable import printable
from src.files.whole_files import part_of
from src.predicting.drawing import drawn_name
from src.settings.errors import ConfigError
from src.settings.options import task_names
from src.tasks.lookup import prediction_class

ENDINGS = (".csv", ".txt", ".json")  # of predictions
TABLE, PAGE = "explanations.csv", "index.html"
OBJECTS, PLACES = "find objects with boxes", "find objects, or say a class for each pixel"
NEEDS = {"score_threshold": OBJECTS, "output": OBJECTS, "draw": PLACES, "tile_px": PLACES, "masks": "answer with masks"}

LABELS = "labelmap.txt"  # beside masks: what their numbers mean


@dataclass(frozen=True)
class MaskFolder:
    """Where masks go: `names` of all images, in order, with / for subfolders."""

    folder: Path
    names: list[str]


def predictions_file(output: str, overwrite: bool, embeddings: bool, images: Sequence[Path], *reads: str) -> Path:
    """The csv file to write. Raises ConfigError if it, or another file that goes beside it, cannot be.

    `embeddings`: whether they are to be written beside it. `images` and the other files `reads` are read.
    """
    read: list[str | Path] = [*reads, *(image for image in images if image.name == Path(output).name)]
    file = output_file(output, "output", overwrite, read)
    output_file(str(part_of(file)), "output", overwrite, read)
    if file.suffix.lower() not in ENDINGS and not (embeddings and file.suffix.lower() == ".npz"):
        raise ConfigError(
            f"output='{output}' is written as a csv file, whose name ends with .csv (or .txt), or as COCO results, "
            "with .json: give such a name."
        )
    if not embeddings:
        return file
    if file.suffix.lower() == ".npz":
        raise ConfigError(
            f"output='{output}' would be the name of the embeddings too: with embeddings=true give the csv file's "
            f"name, such as {file.with_suffix('.csv')}."
        )
    output_file(str(file.with_suffix(".npz")), "output", overwrite, read)
    return file


def require_one_read(images: int, unreadable: int, first: str, told: str = "") -> None:
    """Raise ConfigError if not one image could be read, so that no script goes on with a table of nothing.

    `first`: one of them and why; `told`: a sentence on where the others' reasons are.
    """
    if unreadable == images:
        raise ConfigError(f"images: not one can be read, e.g. {printable(first)}.{told}")


def require_confidence(can_abstain: bool, below: float | None) -> None:
    """Raise ConfigError if answers are to be left out by their confidence, and there is none."""
    if below is not None and not can_abstain:
        raise ConfigError(
            f"abstain_below={below:g} compares the confidence of one class per image, and this model answers "
            "otherwise: leave it null."
        )


def require_use(prediction: type[Prediction], **settings: object) -> None:
    """Raise ConfigError if one of these settings is given (is not None), and the prediction has no use for it."""
    for name, value in settings.items():
        if value is not None and name not in prediction.uses:
            raise ConfigError(
                f"{name}={value} is for models that {NEEDS[name]}, and this one predicts otherwise: leave it out."
            )


def require_use_of_runs(checkpoints: Sequence[Path], abstain_below: float | None, **settings: object) -> None:
    """The same of checkpoints in runs' directories, by config.yaml: before torch is imported, which takes seconds.

    Of one that lies elsewhere nobody knows what the files beside it are of, and it is asked itself, later.
    """
    for run in {file.parents[1] for file in map(Path.absolute, checkpoints) if file.parent.name == "checkpoints"}:
        file = run / "config.yaml"
        task = read_yaml(file).get("task") if file.is_file() else None
        if isinstance(task, dict) and task.get("name") in task_names():
            prediction = prediction_class(task["name"])
            require_confidence(prediction.can_abstain, abstain_below)
            require_use(prediction, **settings)


def maps_folder(output: str, overwrite: bool, given: str, images: Sequence[Path], ckpt: str) -> Path:
    """The folder for heat maps. Raises ConfigError if that would be the images', or if files of others are in the way.

    `given`: the setting that names the images.
    """
    folder = apart(output, "output", given)
    # A map's name begins with the number of its image, from 1.
    named = ((path.name, re.fullmatch(r"(\d{5,})(_\d+)?", path.stem)) for path in folder.glob("*.[pP][nN][gG]"))
    maps = [name for name, found in named if found and 1 <= int(found[1]) <= len(images)]
    reads: list[str | Path] = [given, ckpt, *(image for image in images if image.name in maps)]
    return output_folder(output, "output", (TABLE, part_of(Path(TABLE)).name, PAGE, *maps), overwrite, reads)


def drawn_folder(draw: str, overwrite: bool, given: str, folder: Path, paths: Sequence[str], *others: str) -> Path:
    """The folder for the drawn images of `paths` below `folder`; `others` are read too. Else as `maps_folder`."""
    apart(draw, "draw", given)
    names = {drawn_name(number, path) for number, path in enumerate(paths, start=1)}
    reads: list[str | Path] = [given, *others, *(folder / path for path in paths if Path(path).name in names)]
    return output_folder(draw, "draw", names, overwrite, reads)


def mask_folder(masks: str, overwrite: bool, given: str, images: Sequence[Path], *others: str) -> MaskFolder:
    """The folder for masks of these images; else as `drawn_folder`."""
    folder, names = apart(masks, "masks", given), mask_names(images)
    read = {os.path.realpath(image) for image in images}
    if lost := next((name for name in names if os.path.realpath(folder / name) in read), None):
        raise ConfigError(f"masks='{masks}': {folder / lost} is one of the images and would be lost: name another.")
    output_folder(masks, "masks", {*names, LABELS}, overwrite, [given, *others])
    return MaskFolder(folder, names)


def mask_names(images: Sequence[Path]) -> list[str]:
    """As the images are called and lie below their common folder, so that twin folders match: `sub/a.png` of
    `sub/a.jpg`. Where that is the name of two, which may be one in capital letters, the mask of `a.jpg` is `a.jpg.png`.
    """
    places = [os.path.abspath(image) for image in images]  # noqa: PTH100, "..", and no links
    common = os.path.commonpath([os.path.dirname(place) for place in places])  # noqa: PTH120
    below = [Path(os.path.relpath(place, common)).as_posix() for place in places]
    stems = Counter(stem_of(place).casefold() for place in set(below))
    return [f"{place if stems[stem_of(place).casefold()] > 1 else stem_of(place)}.png" for place in below]


def stem_of(place: str) -> str:
    return place.removesuffix(Path(place).suffix)


def apart(output: str, setting: str, given: str) -> Path:
    """The folder to write to, which is not in that of the images."""
    folder, source = Path(output).expanduser(), Path(given).expanduser()
    if source.is_dir() and folder.resolve().is_relative_to(source.resolve()):
        raise ConfigError(
            f"{setting}='{output}' is in the folder of the images, '{given}', and the next command would take what is "
            "drawn for images: give a folder elsewhere."
        )
    return folder
