"""Where src.predict and src.explain may write, and whether answers can be left out. No torch."""

import re
from collections.abc import Sequence
from pathlib import Path

from src.evaluation.found_objects import FoundObjects
from src.evaluation.prediction import Prediction
from src.files.outputs import output_file, output_folder
from src.files.whole_files import part_of
from src.predicting.drawing import drawn_name
from src.settings.errors import ConfigError

ENDINGS = (".csv", ".txt", ".json")  # of predictions
TABLE, PAGE = "explanations.csv", "index.html"


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


def require_confidence(can_abstain: bool, below: float | None) -> None:
    """Raise ConfigError if answers are to be left out by their confidence, and there is none."""
    if below is not None and not can_abstain:
        raise ConfigError(
            f"abstain_below={below:g} compares the confidence of one class per image, and this model answers "
            "otherwise: leave it null."
        )


def require_objects(prediction: type[Prediction], **settings: object) -> None:
    """Raise ConfigError if one of these settings, which need boxes with scores, is given where none are predicted."""
    given = next((f"{name}={value}" for name, value in settings.items() if value is not None), None)
    if given is not None and not issubclass(prediction, FoundObjects):
        raise ConfigError(
            f"{given} is for models that find objects with boxes, and this one predicts otherwise: leave it out."
        )


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


def drawn_folder(draw: str, overwrite: bool, given: str, folder: Path, paths: Sequence[str], ckpt: str) -> Path:
    """The folder for the drawn images of `paths` below `folder`; else as `maps_folder`."""
    apart(draw, "draw", given)
    names = {drawn_name(number, path) for number, path in enumerate(paths, start=1)}
    reads: list[str | Path] = [given, ckpt, *(folder / path for path in paths if Path(path).name in names)]
    return output_folder(draw, "draw", names, overwrite, reads)


def apart(output: str, setting: str, given: str) -> Path:
    """The folder to write to, which is not in that of the images."""
    folder, source = Path(output).expanduser(), Path(given).expanduser()
    if source.is_dir() and folder.resolve().is_relative_to(source.resolve()):
        raise ConfigError(
            f"{setting}='{output}' is in the folder of the images, '{given}', and the next command would take what is "
            "drawn for images: give a folder elsewhere."
        )
    return folder
